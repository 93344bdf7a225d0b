"""What one value must look like, in Python: beside it, the SQL of the expectations is judged."""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.check_digits import check_digit

LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


def fits_cp932(text: str) -> bool:
    try:
        text.encode("cp932")
    except UnicodeEncodeError:
        return False
    return True


def check_digit_fits(number: str) -> bool:
    return check_digit(number[:-1]) == number[-1]


def is_insurer_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{6}([0-9]{2})?", text) is not None and check_digit_fits(text)


def is_office_number(text: str) -> bool:
    """Kinds 1, 3, 4 and 6 by the six digits before the check digit or by all nine, the others by all nine."""
    if re.fullmatch(f"[0-9]{{2}}[0-9{LETTERS}][0-9]{{7}}", text) is None:
        return False
    if text[2] in LETTERS:
        return _sum_with_letter(text) % 10 == 0
    return check_digit_fits(text) or (text[2] in "1346" and check_digit_fits(text[3:]))


def _sum_with_letter(number: str) -> int:
    """Weights from the right 1, 2, 1, 2 ..; A counts as 10, Z as 32; the digits of each product are added."""
    values = [10 + LETTERS.index(sign) if sign in LETTERS else int(sign) for sign in reversed(number)]
    products = [value * (1 if place % 2 == 0 else 2) for place, value in enumerate(values)]
    return sum(sum(map(int, str(product))) for product in products)


def is_insured_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{10}|H[0-9]{9}", text) is not None


def is_kana(text: str) -> bool:
    return re.fullmatch("[ァ-ヶー　・]+", text) is not None


def is_postal_code(text: str) -> bool:
    return re.fullmatch(r"[0-9]{7}", text) is not None


def is_phone_number(text: str) -> bool:
    return re.fullmatch(r"0[0-9]{9,10}", re.sub(r"[-(). ]", "", text)) is not None


def is_no_test_person(text: str) -> bool:
    word = "テスト|てすと|ﾃｽﾄ|[TtＴｔ][EeＥｅ][SsＳｓ][TtＴｔ]|ダミー|ﾀﾞﾐｰ|[DdＤｄ][UuＵｕ][MmＭｍ][MmＭｍ][YyＹｙ]"
    return re.fullmatch(f"({word})(患者|利用者|職員|用)?[0-9０-９ 　]*", text) is None


#: By the function of the schema ``quality``; what it says of a value.
RULES: dict[str, Callable[[str], bool]] = {
    "fits_cp932": fits_cp932,
    "insurer_number_ok": is_insurer_number,
    "office_number_ok": is_office_number,
    "insured_number_ok": is_insured_number,
    "kana_ok": is_kana,
    "postal_code_ok": is_postal_code,
    "phone_number_ok": is_phone_number,
    "no_test_person": is_no_test_person,
}

#: Text as it comes, where it should not.
DIRT = (
    "", " ", "　", "\n", "\t", "ﾔﾏﾀﾞ", "やまだ", "ヤマダ1", "ヤマダ\nタロウ", "ヤマダ\\u3000", "ヤマダ\\", "'",
    '"', "'; --", "%", "100%", "%s", "%(name)s", "%%", "{0}", "$1", ":name", "?", "[", "(", ")", "*", "^$", "|",
    "\\d", "`", "\u200b", "\ufeff", "😀", "ヤ😀マ", "𠮷", "髙", "﨑", "①", "㈱", "～", "〜", "−", "‖", "¢", "é",
    "한", "e\u0301", "０１２３４５６", "１３８０５７", "H123456789", "h123456789", "Ｈ123456789", "0" * 1000,
    "-" * 20, "()", "ヷ", "゛", "ヿ", "ヽ", "ㇰ", "\ue000", "\uf8f0", "\x80", "\xa0", "\x7f",
)  # fmt: skip
