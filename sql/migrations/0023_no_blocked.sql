-- sync.blocked_reasons says it visit by visit, with the reason.
drop function sync.blocked(text, text, text[]);
