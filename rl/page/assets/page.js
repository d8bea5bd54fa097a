"use strict";
/* The three views, and the address that names what is seen: #curves, #samples?gym=math&page=2, #sample/RUN/STEP/DRAW/K,
   #settings. */

const app = { nonce: document.currentScript.nonce, facts: null, hidden: new Set(), samples: null, turn: 0 };

const GROUPS_A_PAGE = 8;
const view = document.getElementById("view");

function dot(run) {
  return make("i", { class: "dot", style: { background: `var(--run-${run % 8})` } });
}

/* ---- curves ---- */

function curves() {
  const { facts } = app;
  const blocks = [make("div", { class: "runs" }, facts.runs.map(runCard))];
  for (const [key, question] of Object.entries(facts.sections)) {
    const figures = facts.figures.filter((one) => one.section === key && !(one.kind === "stack" && app.hidden.has(one.series[0].run)));
    if (!figures.length) continue;
    const charts = () => make("div", { class: "charts" }, figures.map((figure) => Charts.element(figure, app)));
    if (key === "other") {
      const fold = make("details", { ontoggle: () => { if (fold.open && !fold.querySelector(".charts")) { fold.append(charts()); Charts.watch(view); } } },
        make("summary", {}, `${question} (${figures.length})`));
      blocks.push(fold);
    } else {
      blocks.push(make("section", { id: key }, make("h2", {}, question), charts(), key === "learning" ? stages() : null));
    }
  }
  if (!facts.figures.length) blocks.push(make("p", { class: "empty" }, "No step is done yet."));
  view.replaceChildren(...blocks);
  Charts.watch(view);
}

function runCard(run, r) {
  const numbers = [];
  const last = run.evals[run.evals.length - 1];
  for (const gym of Object.keys(last?.gyms ?? {})) {
    const seen = run.evals.filter((row) => row.is_policy && row.gyms[gym]?.greedy);
    if (!seen.length) continue;
    const before = seen.findLast((row) => row.step === 0) ?? seen[0]; // what RL began with
    const now = seen[seen.length - 1];
    const [value, low, high] = now.gyms[gym].greedy;
    const range = `95 %: ${(100 * low).toFixed(1)} to ${percent(high)}`;
    const from = now === before ? now.stage : `${percent(before.gyms[gym].greedy[0])} before RL`;
    numbers.push(figure(percent(value), `held-out ${gym}`, from, range));
  }
  const rewards = run.rewards.filter((value) => value !== null);
  if (rewards.length) {
    const few = Math.max(1, Math.min(5, Math.floor(rewards.length / 2)));
    const mean = (some) => some.reduce((a, b) => a + b, 0) / some.length;
    numbers.push(figure(shown(mean(rewards.slice(-few))), "reward in training", `${shown(mean(rewards.slice(0, few)))} at first`, few === 1 ? "one step each" : `means of ${few} steps`));
  }
  const planned = run.planned_steps === null ? "" : ` of ${run.planned_steps}`;
  const words = { done: "done", failed: "failed", unfinished: "not finished" }[run.state];
  const written = run.last_write ? `last written ${new Date(run.last_write * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC` : "";
  const facts = [words, `${run.num_steps}${planned} steps`, duration(run.seconds), run.model.split("/").pop()];
  return make("article", { class: "run" },
    make("h2", {}, dot(r), run.label),
    make("p", { class: "state" }, facts.filter(Boolean).join(" \u00b7 ")),
    written ? make("p", { class: "state" }, written) : null,
    run.error ? make("p", { class: "error" }, run.error) : null,
    make("div", { class: "figures" }, numbers),
    run.notes.length ? make("ul", { class: "notes" }, run.notes.map((note) => make("li", {}, note))) : null);
}

const figure = (value, ...words) => make("div", {}, make("b", {}, value), words.map((word) => make("small", {}, word)));
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function duration(seconds) {
  if (!seconds) return "";
  return seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function stages() {
  const rows = app.facts.runs.flatMap((run, r) => run.evals.flatMap((row) => Object.entries(row.gyms).map(([gym, found]) => ({ r, row, gym, found }))));
  if (!rows.length) return null;
  const extra = [["best", "best of k, 95 %"], ["heavy", "heavy, 95 %"]].filter(([key]) => rows.some(({ found }) => found[key]));
  const cell = (band) => make("td", { class: "num" }, ...(band ? [percent(band[0]), " ", make("small", {}, `${percent(band[1])} to ${percent(band[2])}`)] : ["-"]));
  const head = ["run", "gym", "stage", "weights", "n", "greedy, 95 %", "sampled, 95 %", ...extra.map(([, name]) => name), "truncated"];
  return make("details", {},
    make("summary", {}, "Held-out accuracy, stage by stage"),
    make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, head.map((name, i) => make("th", { class: i > 3 ? "num" : null }, name)))),
      make("tbody", {}, rows.map(({ r, row, gym, found }) => make("tr", {},
        make("td", {}, dot(r), " ", app.facts.runs[r].label), make("td", {}, gym), make("td", {}, row.stage), make("td", {}, row.weights),
        make("td", { class: "num" }, shown(found.num)), cell(found.greedy), cell(found.sampled), ...extra.map(([key]) => cell(found[key])),
        make("td", { class: "num" }, found.truncated === null ? "-" : percent(found.truncated))))))));
}

/* ---- samples ---- */

async function browse(filter, linked, turn) {
  await openSamples();
  if (turn !== app.turn) return;
  if (!Samples.size()) return void view.replaceChildren(make("p", { class: "empty" }, "No sample is stored yet."));
  const status = make("span", { class: "quiet", role: "status" });
  const list = make("div", { id: "groups" });
  const pager = make("span", { class: "pager" });
  const found = make("div", { class: "found" }, status, Cards.scale(filter.colour), pager);
  const form = document.getElementById("filters");
  if (form && !linked) form.parentElement.querySelectorAll(".found, #groups").forEach((old) => old.remove());
  else view.replaceChildren(filters(filter));
  view.append(found, list);
  const facts = app.facts;
  if (linked) {
    const run = facts.runs.findIndex((one) => one.label === linked.run);
    const group = Samples.locate(run, linked.step, linked.draw);
    status.textContent = group ? "One group." : "This file does not hold that sample.";
    pager.append(make("a", { href: "#samples" }, "all samples"));
    if (group) await show([group], list, filter, () => true, linked.k);
    list.querySelector(".linked")?.scrollIntoView({ block: "center", inline: "center" });
    return;
  }
  const tell = (groups, read, total) => { status.textContent = `Searching: ${Math.round((100 * read) / total)} %, ${groups} groups so far`; };
  if (filter.q) tell(0, 0, 1);
  const result = await Samples.find(filter, facts, tell);
  if (!result) return;
  const pages = Math.max(1, Math.ceil(result.groups.length / GROUPS_A_PAGE));
  const page = Math.min(Math.max(1, Number(filter.page) || 1), pages);
  const some = result.groups.slice((page - 1) * GROUPS_A_PAGE, page * GROUPS_A_PAGE);
  const num = result.groups.reduce((sum, group) => sum + group.end - group.start, 0);
  status.textContent = num ? `${result.groups.length.toLocaleString("en")} groups, ${num.toLocaleString("en")} samples` : "";
  const goes = (to, word) => make("button", { class: "plain", type: "button", disabled: to < 1 || to > pages, onclick: () => { go({ ...filter, page: to }); scrollTo(0, 0); } }, word);
  if (pages > 1) pager.append(goes(page - 1, "Previous"), `${page} of ${pages}`, goes(page + 1, "Next"));
  if (!num) list.append(make("p", { class: "empty" }, "No sample passes these filters."));
  await show(some, list, filter, result.passes, null);
  if (pages > 1 && some.length > 2) list.append(make("div", { class: "found" }, make("span", { class: "pager" }, goes(page - 1, "Previous"), `${page} of ${pages}`, goes(page + 1, "Next"))));
}

async function show(groups, list, filter, passes, linked) {
  const facts = app.facts;
  const contents = await Promise.all(groups.map((group) => Samples.contents(group, filter.colour)));
  list.append(...contents.map((found, n) => Cards.group(facts, found, {
    runs: facts.runs.length, label: facts.runs[groups[n].run].label, colour: filter.colour, words: filter.q.trim().toLowerCase(),
    passes: (i) => passes(groups[n].run, i), linked,
  })));
}

function openSamples() {
  app.samples ??= Samples.open(app.facts);
  return app.samples;
}

function filters(filter) {
  const choice = (name, label, options) => options.length < 2 ? null : make("label", {}, label,
    make("select", { name }, options.map(([value, word]) => make("option", { value, selected: filter[name] === value }, word))));
  const any = (names, word) => [["", word], ...names.map((name) => [name, name])];
  const number = (name, word) => make("input", { type: "number", name, step: "any", value: filter[name], placeholder: word, "aria-label": `${name} ${word}` });
  const pair = (label, low, high) => make("label", {}, label, make("span", { class: "pair" }, low, high));
  const runs = app.facts.runs.map((run) => run.label);
  const hasGap = app.facts.runs.some((run) => run.has_gap);
  const colours = Samples.hasTokens() ? Object.entries(Cards.COLOURS).filter(([name]) => name !== "gap" || hasGap) : [];
  const flags = Samples.flags();
  const form = make("form", { class: "filters", id: "filters", onsubmit: (event) => event.preventDefault() },
    make("label", { class: "always" }, "search", make("input", { type: "search", name: "q", value: filter.q, placeholder: "response, prompt, answer, task" })),
    make("button", { class: "plain fold", type: "button", onclick: () => form.classList.toggle("open") }, "Filters"),
    runs.length > 1 ? choice("run", "run", any(runs, "all")) : null,
    Samples.names("gyms").length > 1 ? choice("gym", "gym", any(Samples.names("gyms"), "all")) : null,
    choice("status", "status", any(Samples.names("statuses"), "all")),
    flags.length ? choice("flag", "flag", any(flags, "all")) : null,
    pair("step", number("from", "from"), number("to", "to")),
    pair("reward", number("low", "from"), number("high", "to")),
    choice("order", "order", [["latest", "latest step first"], ["first", "first step first"], ["spread", "widest spread first"]]),
    choice("colour", "colour tokens by", colours));
  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => go({ ...Samples.NONE, ...Object.fromEntries(new FormData(form)), page: 1 }), 220);
  });
  return form;
}

/* ---- settings ---- */

function settings() {
  const { runs } = app.facts;
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))];
  const text = (run, key) => (key in run.settings ? JSON.stringify(run.settings[key] ?? "none") : "-").replace(/^"none"$/, "none");
  const differing = keys.filter((key) => new Set(runs.map((run) => text(run, key))).size > 1);
  const table = (chosen) => make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", {}, "setting"), runs.map((run, r) => make("th", {}, runs.length > 1 ? dot(r) : null, " ", run.label)))),
    make("tbody", {}, chosen.map((key) => make("tr", {}, make("td", { class: "key" }, key), runs.map((run) => make("td", { class: "value" }, text(run, key))))))));
  const blocks = [];
  if (runs.length > 1) {
    blocks.push(make("section", { id: "differences" }, make("h2", {}, "What differs"),
      differing.length ? table(differing) : make("p", { class: "quiet" }, "Nothing: all settings are the same.")));
  }
  blocks.push(make("section", {}, make("h2", {}, "All settings"), table(keys)));
  view.replaceChildren(...blocks);
}

/* ---- addresses ---- */

function go(filter) {
  const given = Object.entries(filter).filter(([name, value]) => String(value) !== String(Samples.NONE[name]));
  const query = new URLSearchParams(given).toString();
  history.replaceState(null, "", query ? `#samples?${query}` : "#samples");
  route();
}

async function route() {
  const turn = ++app.turn;
  const [place, query] = location.hash.slice(1).split("?");
  const [name, ...rest] = place.split("/");
  const tab = { samples: "samples", sample: "samples", settings: "settings" }[name] ?? "curves";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${tab}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (name === "sample" && rest.length === 4) {
    const [run, step, draw, k] = [decodeURIComponent(rest[0]), ...rest.slice(1).map(Number)];
    await browse({ ...Samples.NONE }, { run, step, draw, k }, turn);
  } else if (tab === "samples") {
    await browse({ ...Samples.NONE, ...Object.fromEntries(new URLSearchParams(query ?? "")) }, null, turn);
  } else if (tab === "settings") settings();
  else curves();
  if (turn === app.turn) document.body.dataset.ready = tab;
}

/* The view as it now is, at the same place. */
async function again() {
  const at = scrollY;
  await route();
  scrollTo(0, at);
}

function legendOfRuns() {
  const { runs } = app.facts;
  const buttons = runs.map((run, r) => make("button", {
    type: "button", "aria-pressed": String(!app.hidden.has(r)), title: `${run.path}: show or hide its lines`,
    onclick: () => { if (!app.hidden.delete(r)) app.hidden.add(r); legendOfRuns(); again(); },
  }, dot(r), make("span", {}, run.label)));
  document.getElementById("runs-legend").replaceChildren(...(runs.length > 1 ? buttons : []));
}

/* ---- a run that goes on: fetch the page again, keep the place ---- */

async function follow(seconds, etag) {
  const live = document.getElementById("live");
  live.textContent = "live";
  for (;;) {
    await new Promise((done) => setTimeout(done, seconds * 1000));
    try {
      const answer = await fetch(location.pathname, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
      live.textContent = "live";
      if (answer.status !== 200) continue;
      etag = answer.headers.get("ETag");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("blobs");
      const busy = document.activeElement?.form?.id === "filters" || document.querySelector(".linked");
      if (fresh) await renew(fresh, busy);
    } catch {
      live.textContent = "the report command has ended; this is the last state";
    }
  }
}

async function renew(fresh, isBusy) {
  fresh.querySelector("#plotly")?.remove();
  const library = document.getElementById("plotly");
  document.getElementById("blobs").replaceChildren(library, ...fresh.children);
  Blobs.forget();
  app.samples = null;
  app.facts = JSON.parse(await Blobs.text("facts"));
  legendOfRuns();
  if (!isBusy) await again();
}

(async () => {
  if (!window.DecompressionStream) {
    view.replaceChildren(make("p", { class: "empty" }, "This page needs a browser of 2023 or later (DecompressionStream)."));
    return;
  }
  app.facts = JSON.parse(await Blobs.text("facts"));
  legendOfRuns();
  addEventListener("hashchange", () => { document.getElementById("filters")?.remove(); scrollTo(0, 0); route(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  await route();
  if (app.facts.follow) follow(app.facts.follow, app.facts.etag);
})().catch((error) => {
  view.replaceChildren(make("p", { class: "empty" }, `The page could not be drawn: ${error.message}`));
  document.body.dataset.ready = "error";
  throw error;
});
