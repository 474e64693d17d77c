"use strict";
// Draws the page's charts with uPlot, and makes them answer to mouse, touch and keyboard.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const spoken = document.getElementById("spoken");
  const kept = "zoom " + location.pathname; // in a served page, over its refreshments
  const zooms = page.version ? JSON.parse(sessionStorage.getItem(kept) || "{}") : {};
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (v) => {
    if (v == null) return "–";
    const size = Math.abs(v);
    if (!size || (size >= 1e-4 && size < 1e6)) return String(+v.toPrecision(4));
    return v.toExponential(2).replace(/\.?0*e\+?/, "e");
  };
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const all = [];
  const PARTS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
  const WHOLE = [0, 1, 2, 3, 4, 5, 6].flatMap((n) => [1, 2, 5].map((m) => m * 10 ** n)); // epochs, steps

  // Where a series has no value at the cursor, the nearest one that it has.
  function nearest(u, series, at) {
    const x = u.data[0], y = u.data[series];
    if (y[at] != null) return at;
    let left = at, right = at;
    while (left >= 0 && y[left] == null) left--;
    while (right < y.length && y[right] == null) right++;
    if (left < 0) return right < y.length ? right : at;
    if (right >= y.length) return left;
    return x[at] - x[left] <= x[right] - x[at] ? left : right;
  }

  // One table of all x: uPlot wants series of equal length. The order: faint steps, then for each
  // curve its mean, and of a band its low and high.
  function tables(chart) {
    const parts = [], roles = [];
    const add = (x, y, role) => { parts.push([page.x[x], y]); roles.push(role); };
    chart.curves.forEach((c, i) => c.steps && add(c.steps.x, c.steps.y, { curve: i, kind: "steps" }));
    chart.curves.forEach((c, i) => {
      if (c.low) { add(c.x, c.low, { curve: i, kind: "low" }); add(c.x, c.high, { curve: i, kind: "high" }); }
      add(c.x, c.y, { curve: i, kind: "mean" });
    });
    return { data: uPlot.join(parts), roles };
  }

  function options(chart, roles, width, height, hooks) {
    const ink = css("--faint"), grid = css("--grid"), font = "12px system-ui, sans-serif";
    const tint = (c) => css("--c" + (c.color % 6));
    const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const bands = roles.flatMap((r, i) => r.kind === "high"
      ? [{ series: [i + 1, i], fill: tint(chart.curves[r.curve]) + "38" }] : []);
    const range = (u, low, high) => {
      if (low == null) return [0, 1];
      const room = (high - low || Math.abs(high) || 1) * 0.06;
      return [chart.lowest ?? low - room, chart.highest ?? high + room];
    };
    return {
      width, height, hooks, bands,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      scales: { x: { time: false }, y: { range } },
      axes: [
        { ...axis, size: 30, space: 64, incrs: (u, i, low, high) => (high - low < 1 ? PARTS : WHOLE), values: (u, v) => v.map(number) },
        { ...axis, size: 56, values: (u, v) => v.map(number) },
      ],
      cursor: { y: false, drag: { x: true, y: false, dist: 6 }, dataIdx: nearest,
        points: { size: (u, i) => (roles[i - 1].kind === "mean" ? 8 : 0) } },
      series: [{}, ...roles.map((r) => {
        const curve = chart.curves[r.curve], color = tint(curve), mean = r.kind === "mean";
        const few = curve.y.length < 3;
        return {
          stroke: r.kind === "steps" ? color + "66" : mean ? color : "transparent",
          width: mean ? 2.2 : 1,
          dash: mean && curve.color >= 6 ? [6, 4] : undefined,
          spanGaps: true,
          points: { show: mean && few, size: 7, fill: color },
        };
      })],
    };
  }

  function build(figure) {
    const chart = page.charts[+figure.dataset.chart];
    const plot = figure.querySelector(".plot"), at = figure.querySelector(".at");
    const reset = figure.querySelector(".reset"), buttons = [...figure.querySelectorAll(".legend button")];
    const { data, roles } = tables(chart);
    const xs = data[0], ends = [xs[0], xs[xs.length - 1]];
    const means = roles.map((r, i) => (r.kind === "mean" ? i + 1 : 0)).filter(Boolean);
    const shown = buttons.map(() => true);
    // Where a curve has a value: what is read and moved between. Single steps lie between them.
    const stops = xs.map((x, i) => i).filter((i) => means.some((m) => data[m][i] != null));
    const stop = (idx) => {
      let at = stops.findIndex((i) => i >= idx);
      if (at < 0) at = stops.length - 1;
      return at > 0 && xs[idx] - xs[stops[at - 1]] < xs[stops[at]] - xs[idx] ? at - 1 : at;
    };
    let u = null;

    const words = (i, idx) => {
      const c = chart.curves[i], where = nearest(u, means[i], idx);
      const own = c.low ? page.x[c.x].indexOf(xs[where]) : -1;
      const band = own >= 0 ? ` (${number(c.low[own])} to ${number(c.high[own])})` : "";
      return number(data[means[i]][where]) + band;
    };
    function read(idx, aloud) {
      const inside = idx != null, last = xs.length - 1;
      if (inside) idx = stops[stop(idx)];
      at.textContent = inside ? `${chart.axis} ${number(xs[idx])}` : "";
      buttons.forEach((b, i) => { b.querySelector("b").textContent = words(i, inside ? idx : last); });
      if (!aloud || !inside) return;
      const told = chart.curves.map((c, i) => shown[i] && `${c.label} ${words(i, idx)}`).filter(Boolean);
      spoken.textContent = `${at.textContent}: ${told.join(", ")}`;
    }
    function zoom(low, high) {
      low = Math.max(low, ends[0]); high = Math.min(high, ends[1]);
      if (high > low) u.setScale("x", { min: low, max: high });
    }
    function unzoom() { u.setScale("x", { min: ends[0], max: ends[1] }); }
    function place(idx, aloud) {
      u.setCursor({ left: u.valToPos(xs[idx], "x"), top: u.bbox.height / devicePixelRatio / 2 }, false);
      read(idx, aloud);
    }

    let cursor = null; // index in xs of what the keyboard has reached, or the mouse
    const hooks = {
      setCursor: [() => { cursor = u && u.cursor.left >= 0 ? u.cursor.idx : null; if (u) read(cursor, false); }],
      setScale: [(v, key) => {
        if (key !== "x") return;
        const { min, max } = v.scales.x, zoomed = min > ends[0] || max < ends[1];
        reset.hidden = !zoomed;
        if (zoomed) zooms[chart.title] = [min, max]; else delete zooms[chart.title];
      }],
    };
    function draw() {
      if (u) u.destroy();
      u = new uPlot(options(chart, roles, plot.clientWidth, plot.clientHeight, hooks), data, plot);
      const before = zooms[chart.title];
      if (before) zoom(...before);
      shown.forEach((on, i) => on || show(i, false));
    }
    function show(i, on) {
      shown[i] = on;
      roles.forEach((r, n) => r.curve === i && u.setSeries(n + 1, { show: on }));
      buttons[i].setAttribute("aria-pressed", on);
    }

    plot.addEventListener("keydown", (event) => {
      const { min, max } = u.scales.x, inside = stops.filter((i) => xs[i] >= min && xs[i] <= max);
      if (!inside.length) return;
      const end = inside.length - 1, far = event.shiftKey ? 10 : 1;
      const from = cursor == null ? null : clamp(inside.indexOf(stops[stop(cursor)]), 0, end);
      const centre = xs[inside[from ?? end]];
      const moves = { ArrowRight: from == null ? 0 : from + far, ArrowLeft: from == null ? end : from - far, Home: 0, End: end };
      const scaled = (by) => zoom(centre - (centre - min) * by, centre + (max - centre) * by);
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in moves) {
        const target = inside[clamp(moves[event.key], 0, end)];
        place(target, true);
        cursor = target;
      } else if (event.key === "+" || event.key === "=") scaled(0.5);
      else if (event.key === "-") scaled(2);
      else if (event.key === "Escape") { unzoom(); u.setCursor({ left: -10, top: -10 }); spoken.textContent = "zoom reset"; }
      else return;
      event.preventDefault();
    });
    plot.addEventListener("pointerdown", touch);
    plot.addEventListener("pointermove", touch);
    function touch(event) { // uPlot itself hears the mouse alone
      if (event.pointerType === "mouse") return;
      const box = u.over.getBoundingClientRect();
      u.setCursor({ left: clamp(event.clientX - box.left, 0, box.width), top: box.height / 2 });
    }
    reset.addEventListener("click", () => { unzoom(); plot.focus(); });
    buttons.forEach((b, i) => b.addEventListener("click", () => show(i, !shown[i])));
    draw();
    new ResizeObserver(() => {
      if (plot.clientWidth !== u.width) u.setSize({ width: plot.clientWidth, height: plot.clientHeight });
    }).observe(plot);
    all.push({ title: chart.title, draw, get plot() { return u; } });
  }

  document.querySelectorAll(".chart").forEach(build);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all.forEach((c) => c.draw()));
  window.charts = all; // for a look from the browser's console

  // A served page takes the place of an older one once its reader pauses, and lies as it lay.
  if (page.version) {
    const badge = document.getElementById("live"), details = [...document.querySelectorAll("details")];
    const open = JSON.parse(sessionStorage.getItem(kept + " open") || "[]");
    details.forEach((d, i) => { d.open = open.includes(i); });
    let touched = -1e9;
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"])
      addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
    setInterval(async () => {
      try {
        const answer = await fetch("version", { cache: "no-store" });
        badge.textContent = "live";
        const idle = performance.now() - touched > 4000;
        if (!answer.ok || !idle || await answer.text() === page.version) return;
        sessionStorage.setItem(kept, JSON.stringify(zooms));
        sessionStorage.setItem(kept + " open", JSON.stringify(details.flatMap((d, i) => d.open ? [i] : [])));
        location.reload();
      } catch { badge.textContent = "server stopped"; }
    }, 2000);
  }
})();
