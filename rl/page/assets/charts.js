"use strict";
/* Curves and stacks, drawn by Plotly when they come near the window. */

const Charts = (() => {
  const STACK = {
    light: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b3a300", "#8c8c8c", "#7a2c5e"],
    dark: ["#56b4e9", "#e69f00", "#2fc79b", "#e29bc4", "#e8703a", "#a5d8ff", "#e6d94a", "#9a9fa6", "#8f95ff"],
  };
  const DASH = { solid: "", dash: "dash", dot: "dot-line", dashdot: "dash-dot", points: "points" };
  const MAX_BARS = 200;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let library = null;
  let watcher = null;

  function plotly(nonce) {
    library ??= Blobs.text("plotly").then((code) => {
      const script = make("script");
      script.nonce = nonce;
      script.textContent = code;
      document.head.append(script); // runs at once
      script.remove();
      return window.Plotly;
    });
    return library;
  }

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const runColor = (run) => css(`--run-${run % 8}`);
  const stackColor = (n) => STACK[dark.matches ? "dark" : "light"][n % 9];

  function faded(hex, alpha) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r}, ${g}, ${b}, ${alpha})`;
  }

  function layout(figure) {
    const axis = {
      gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true,
      tickfont: { color: css("--quiet"), size: 11 }, zeroline: false,
    };
    const y = { ...axis, fixedrange: true, nticks: 6, exponentformat: "power" };
    if (figure.axis === "log") Object.assign(y, { type: "log", dtick: 1, tickformat: "~g" });
    if (figure.axis === "rate") y.range = [-0.03, 1.03];
    if (figure.axis === "step") Object.assign(y, { range: [-0.1, 1.1], tickvals: [0, 1] });
    if (figure.axis === "zero" || figure.kind === "stack") y.rangemode = "tozero";
    if (figure.kind === "stack" && topOf(figure).cut) y.range = [0, topOf(figure).top];
    return {
      margin: { l: 34, r: 8, t: 6, b: 26 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 11, color: css("--ink") }, showlegend: false, barmode: "stack",
      bargap: 0.08, hovermode: "x unified", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line"), font: { color: css("--ink"), size: 11 } },
      xaxis: {
        ...axis, showgrid: false, tickformat: "d", hoverformat: "d", nticks: 8, tickprefix: "step ", showtickprefix: "first",
        showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: css("--line"),
        unifiedhovertitle: { text: "step %{x}" }, ...stepsOf(figure),
      },
      yaxis: y,
    };
  }

  function stepsOf(figure) {
    const all = figure.series.flatMap((series) => series.x);
    const last = all.reduce((a, b) => Math.max(a, b), 0);
    const first = all.reduce((a, b) => Math.min(a, b), last);
    const pad = figure.kind === "stack" ? 0.6 : Math.max((last - first) * 0.025, 0.3);
    return { range: [first - pad, last + pad], ...(last - first < 8 ? { tick0: 0, dtick: 1 } : {}) };
  }

  /* A stack of seconds: where one step dwarfs all others (the first holds the warm-up), it runs out of the chart. */
  function topOf(figure) {
    const totals = new Map();
    for (const { x, y } of figure.series) x.forEach((step, i) => totals.set(step, (totals.get(step) ?? 0) + y[i]));
    const ordered = [...totals].sort((a, b) => b[1] - a[1]);
    const [[step, most], second] = [ordered[0], ordered[1]?.[1] ?? 0];
    return { top: 1.25 * second, cut: figure.unit === "seconds" && totals.size > 3 && second > 0 && most > 2.5 * second, step, most };
  }

  function lineTraces(series, label, figure) {
    const color = runColor(series.run);
    const points = series.dash === "points";
    const traces = [];
    if (series.low && !points) {
      const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", type: "scatter" };
      const fillcolor = faded(color, series.dash === "solid" ? 0.16 : 0.07);
      for (const [start, end] of stretches(series.y)) {
        const x = series.x.slice(start, end);
        traces.push({ ...edge, x, y: series.low.slice(start, end) });
        traces.push({ ...edge, x, y: series.high.slice(start, end), fill: "tonexty", fillcolor });
      }
    }
    const name = [label, series.name].filter(Boolean).join(" ");
    const range = series.low ? series.x.map((_, i) => ` (${shown(series.low[i])} to ${shown(series.high[i])})`) : null;
    const few = series.x.length < 45 || points || series.y.includes(null); // a lone point has no line to be seen by
    traces.push({
      type: "scatter", x: series.x, y: series.y, mode: points ? "markers" : few ? "lines+markers" : "lines", name: safe(name),
      text: series.x.map((_, i) => safe((range ? range[i] : "") + (series.words && !/^step \d+$/.test(series.words[i]) ? `  ${series.words[i]}` : ""))),
      hovertemplate: `${safe(name)} %{y:.3~g}%{text}<extra></extra>`,
      line: { color, width: 2, dash: points ? "solid" : series.dash, shape: figure.axis === "step" ? "hv" : "linear" },
      marker: { color, size: points ? 8 : 4.5, symbol: points ? "circle-open" : "circle", line: { color, width: points ? 1.6 : 0 } },
    });
    return traces;
  }

  /* [start, end) of every stretch without gaps. */
  function stretches(values) {
    const found = [];
    values.forEach((value, i) => {
      if (value === null) return;
      if (i && values[i - 1] !== null) found[found.length - 1][1] = i + 1;
      else found.push([i, i + 1]);
    });
    return found;
  }

  /* Plotly reads a few HTML tags in labels: names from configs and gyms must not be any. */
  const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  /* A name has one colour in all charts of a title, whatever else a run shows. */
  function colorOf(name, figure, app) {
    const alike = app.facts.figures.filter((other) => other.title === figure.title);
    return stackColor([...new Set(alike.flatMap((other) => other.series.map((series) => series.name)))].indexOf(name));
  }

  function barTrace(series, color) {
    const { x, y } = binned(series.x, series.y);
    const pattern = series.hatched 
      ? { shape: "/", size: 5, solidity: 0.4, fgcolor: css("--paper"), bgcolor: color } : undefined;
    return {
      type: "bar", x, y, name: safe(series.name), marker: { color, pattern },
      hovertemplate: `${safe(series.name)} %{y:.3~g}<extra></extra>`,
    };
  }

  /* More bars than a screen has columns: means over equal stretches. */
  function binned(x, y) {
    const size = Math.ceil(x.length / MAX_BARS);
    if (size <= 1) return { x, y };
    const found = { x: [], y: [] };
    for (let i = 0; i < x.length; i += size) {
      const some = y.slice(i, i + size);
      found.x.push(x[i]);
      found.y.push(some.reduce((a, b) => a + b, 0) / some.length);
    }
    return found;
  }

  async function draw(host, figure, app) {
    const Plotly = await plotly(app.nonce);
    const seen = figure.series.filter((series) => figure.kind === "stack" || !app.hidden.has(series.run));
    const traces = seen.flatMap((series) =>
      figure.kind === "stack"
        ? [barTrace(series, colorOf(series.name, figure, app))]
        : lineTraces(series, app.facts.runs.length > 1 ? app.facts.runs[series.run].label : "", figure));
    await Plotly.react(host, traces, layout(figure), { displayModeBar: false, responsive: true });
    host.dataset.drawn = traces.length;
  }

  function legend(figure, app) {
    const items = [];
    if (figure.kind === "stack") {
      for (const { name, hatched } of figure.series) {
        const style = { backgroundColor: colorOf(name, figure, app) };
        items.push(make("span", {}, make("i", { class: hatched ? "box hatched" : "box", style }), name));
      }
    } else {
      const names = new Map(figure.series.filter((series) => series.name).map((series) => [series.name, series.dash]));
      const bare = names.size < 2 && ![...names.values()].includes("points");
      if (!bare) for (const [name, dash] of names) items.push(make("span", {}, make("i", { class: DASH[dash] }), name));
    }
    return make("div", { class: "legend" }, items);
  }

  function element(figure, app) {
    const host = make("div", { class: "plot" });
    const run = app.facts.runs[figure.series[0].run];
    const many = figure.kind === "stack" && app.facts.runs.length > 1;
    const title = many ? `${figure.title}: ${run.label}` : figure.title;
    const beyond = figure.kind === "stack" && topOf(figure).cut ? topOf(figure) : null;
    const notes = [
      figure.caption, figure.band ? `Shaded: ${figure.band}.` : "",
      beyond ? `Step ${beyond.step} runs out of the chart: ${shown(beyond.most)} ${figure.unit}.` : "",
    ];
    const built = make("figure", { class: "chart", "data-title": title },
      make("h3", {}, title), make("span", { class: "unit" }, figure.unit), legend(figure, app), host,
      make("figcaption", { class: "caption" }, notes.filter(Boolean).join(" ")));
    host.dataset.waiting = "";
    host.start = () => { delete host.dataset.waiting; return draw(host, figure, app); };
    return built;
  }

  function watch(root) {
    watcher?.disconnect();
    watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting && target.start) { watcher.unobserve(target); target.start(); }
      }
    }, { rootMargin: "600px" });
    for (const host of root.querySelectorAll(".plot[data-waiting]")) watcher.observe(host);
  }

  addEventListener("beforeprint", () => document.querySelectorAll(".plot[data-waiting]").forEach((host) => host.start()));
  return { element, watch };
})();
