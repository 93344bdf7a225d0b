"use strict";
// Draws each figure.plot from the table beside it: the table is the truth, and stays for those who do not see the plot.
(() => {
  const DAY = 86400000;
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { ink: read("--ink"), soft: read("--soft"), line: read("--line"),
      series: [1, 2, 3, 4, 5].map((number) => read(`--series-${number}`)) };
  };
  const dashes = [[], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3]];
  const shapes = ["circle", "rect", "triangle", "rectRot", "crossRot"];

  // {days: ["2026-11-01", ...] without a gap, series: [{name, values: [0.97, null, ...]}]}
  const readTable = (table) => {
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
    const found = new Map();
    for (const row of table.tBodies[0].rows) {
      const day = row.cells[0].dataset.day;
      if (day) {
        found.set(day, [...row.cells].slice(1).map((cell) => (cell.dataset.v ? Number(cell.dataset.v) : null)));
      }
    }
    const known = [...found.keys()].sort();
    const days = [];
    if (known.length) {
      for (let at = Date.parse(known[0]); at <= Date.parse(known[known.length - 1]); at += DAY) {
        days.push(new Date(at).toISOString().slice(0, 10));
      }
    }
    const series = names.map((name, index) => ({
      name, values: days.map((day) => (found.get(day) || [])[index] ?? null),
    }));
    return { days, series };
  };

  const options = (small, palette, lowest) => ({
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    spanGaps: false,
    ...(small ? { events: [] } : {}),
    interaction: { mode: "index", intersect: false },
    layout: { padding: small ? 3 : 0 },
    plugins: {
      legend: { display: !small, position: "bottom", labels: { color: palette.ink, usePointStyle: true, boxHeight: 7 } },
      tooltip: { enabled: !small, callbacks: {
        label: (item) => `${item.dataset.label}: ${(Math.floor(item.parsed.y * 1000) / 10).toFixed(1)} %`,
      } },
    },
    scales: {
      x: { display: !small, ticks: { color: palette.soft, maxTicksLimit: 8, maxRotation: 0 }, grid: { display: false } },
      y: { display: !small, suggestedMin: Math.max(0, lowest - 0.01), max: 1, ticks: { color: palette.soft, maxTicksLimit: 5, callback: (value) => `${(value * 100).toFixed(1)} %` },
        grid: { color: palette.line } },
    },
  });

  const draw = (figure) => {
    const data = readTable(figure.querySelector("table"));
    const place = figure.querySelector(".canvas");
    if (!data.days.length) {
      place.hidden = true;
      return;
    }
    const small = figure.classList.contains("small");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", figure.dataset.label);
    place.replaceChildren(canvas);
    place.removeAttribute("aria-hidden");
    const palette = colours();
    const lowest = Math.min(...data.series.flatMap((each) => each.values.filter((value) => value !== null)));
    figure.chart = new window.Chart(canvas, {
      type: "line",
      data: {
        labels: data.days.map((day) => (small || data.days.length < 200 ? day.slice(5).replace("-", "/") : day)),
        datasets: data.series.map((each, index) => ({
          label: each.name, data: each.values,
          borderColor: palette.series[index % 5], backgroundColor: palette.series[index % 5],
          borderDash: small ? [] : dashes[index % 5], borderWidth: small ? 1.5 : 2, pointStyle: shapes[index % 5],
          // A day between two days without a run would be invisible without its point.
          pointRadius: (context) => {
            const values = context.dataset.data;
            const alone = (values[context.dataIndex - 1] ?? null) === null && (values[context.dataIndex + 1] ?? null) === null;
            return alone || (!small && values.length < 45) ? 2.5 : 0;
          },
        })),
      },
      options: options(small, palette, lowest),
    });
  };

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "300px" });
  const begin = () => {
    for (const figure of document.querySelectorAll("figure.plot")) {
      seen.observe(figure);
    }
  };
  begin();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const figure of document.querySelectorAll("figure.plot")) {
      if (figure.chart) {
        figure.chart.destroy();
        draw(figure);
      }
    }
  });
})();
