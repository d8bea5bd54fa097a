"use strict";
/* Groups of siblings side by side. Everything a model, a gym or a judge wrote becomes a text node. */

const Cards = (() => {
  const COLOURS = { "": "plain text", logprob: "surprise", advantage: "advantage", gap: "log-prob gap" };
  const FULL = { logprob: 5, gap: 0.5 }; // nats at which a colour is full
  const TINT = { logprob: "--heat", gap: "--gap" };

  function group(facts, found, { runs, label, colour, words, passes, linked }) {
    const shownPrompt = found.prompt.map(([role, text], n) => 
      found.prompt.length === 1 ? make("pre", { dir: "auto" }, marked(text, words)) : message(role, text, words, n < found.prompt.length - 1));
    const where = [`step ${found.step}`, `draw ${found.draw}`];
    return make("section", { class: "group" },
      make("header", {}, make("b", {}, found.gym), runs > 1 ? make("span", {}, label) : null, make("span", {}, where.join(", ")),
        make("code", {}, found.task)),
      make("div", { class: "prompt" }, shownPrompt),
      make("div", { class: "siblings" },
        found.samples.map((sample) => card(facts, found, sample, { label, colour, words, passes, linked }))));
  }

  function message(role, text, words, isEarly) {
    const body = make("pre", {}, marked(text, words));
    if (!isEarly) return [make("div", { class: "role" }, role), body];
    return make("details", {}, make("summary", { class: "role" }, `${role}, ${text.length} characters`), body);
  }

  function card(facts, found, sample, { label, colour, words, passes, linked }) {
    const isLinked = linked === sample.k;
    const href = `#sample/${encodeURIComponent(label)}/${found.step}/${found.draw}/${sample.k}`;
    const direction = sample.adv > 0 ? "up" : sample.adv < 0 ? "down" : "";
    const isFault = sample.status !== "ok";
    return make("article", { class: ["card", passes(sample.i) ? "" : "other", isLinked ? "linked" : ""].join(" "), "data-k": sample.k },
      make("header", {},
        make("span", { class: "reward", title: "reward" }, sample.masked ? "masked" : shown(sample.reward)),
        make("span", { class: `adv ${direction}`, title: "advantage: reward minus baseline" },
          sample.masked ? "" : `${sample.adv > 0 ? "+" : sample.adv < 0 ? "\u2212" : "\u00b1"}${shown(Math.abs(sample.adv))}`),
        make("span", { class: isFault ? "status fault" : "status" }, isFault ? sample.status : ""),
        make("a", { class: "anchor", href, title: "link to this sample" }, `#${sample.k}`)),
      make("pre", { dir: "auto", tabindex: 0, "aria-label": `response ${sample.k}` }, body(found, sample, colour, words)),
      turns(sample, words),
      details(sample, words),
      make("footer", {}, footer(sample)));
  }

  function body(found, sample, colour, words) {
    if (colour && sample.pieces && found.vocabulary) return tokens(found, sample, colour);
    const rest = sample.chars ? `\n... (${(sample.chars - sample.text.length).toLocaleString("en")} characters more in the run folder)` : "";
    return sample.text === "" ? [make("span", { class: "quiet" }, "(empty)")] : [...marked(sample.text, words), rest];
  }

  function tokens(found, sample, colour) {
    const most = Math.max(...found.samples.map((sibling) => Math.abs(sibling.adv)), 1e-9);
    const { ids, logprobs, learner, stretches } = sample.pieces;
    const authors = stretches.flatMap((stretch) => Array(stretch[0]).fill(stretch));
    const spans = ids.map((id, t) => {
      const [, isSampled, version] = authors[t] ?? [0, true];
      const piece = found.vocabulary[id] ?? `<${id}>`;
      if (!isSampled) return make("span", { class: "observed", title: `token ${id}, an observation` }, piece);
      const logprob = logprobs[t] / 1000;
      const gap = learner.length ? Math.abs(learner[t] - logprobs[t]) / 1000 : null;
      const tint = colour === "advantage"
        ? [sample.adv < 0 ? "--heat" : "--cool", (Math.abs(sample.adv) / most) * 0.45]
        : [TINT[colour], Math.min(1, (colour === "gap" ? gap ?? 0 : -logprob) / FULL[colour]) * 0.75];
      const told = [`token ${id}`, `log p ${shown(logprob)} (p = ${shown(Math.exp(logprob))})`,
        gap === null ? "" : `gap ${shown(gap)}`, version === undefined ? "" : `weights ${version}`];
      const style = tint[1] > 0.01 ? { backgroundColor: `rgba(var(${tint[0]}), ${tint[1].toFixed(3)})` } : undefined;
      return make("span", { class: "token", title: told.filter(Boolean).join(", "), style }, piece);
    });
    const left = (sample.all ?? sample.tokens) - ids.length;
    return left > 0 ? [...spans, `\n... (${left.toLocaleString("en")} tokens more in the run folder)`] : spans;
  }

  function turns(sample, words) {
    if (!sample.turns) return null;
    return make("details", { class: "turns" }, make("summary", {}, sample.turns.length === 1 ? "1 turn" : `${sample.turns.length} turns`),
      make("ol", {}, sample.turns.map((turn) => make("li", {},
        turn.text ? make("pre", {}, marked(turn.text, words)) : null,
        turn.calls.map((call) => make("pre", { class: "call" }, marked(call, words))),
        turn.replies.map(([who, said]) => make("div", { class: "reply" }, make("span", { class: "role" }, who),
          make("pre", { class: "observed" }, marked(said, words))))))));
  }

  function cases({ passed, all, failed }, words) {
    const told = `${passed.toLocaleString("en")} of ${all.toLocaleString("en")} passed`;
    if (!failed.length) return told;
    const left = all - passed - failed.length;
    return make("details", {}, make("summary", {}, told), make("ul", { class: "cases" },
      failed.map(([name, why]) => make("li", {}, marked(why ? `${name}: ${why}` : name, words))),
      left > 0 ? make("li", {}, `${left.toLocaleString("en")} more in the run folder`) : null));
  }

  function details(sample, words) {
    const rows = [];
    if (sample.answer !== undefined) rows.push(["answer", marked(sample.answer, words)]);
    if (sample.value !== undefined) rows.push(["value", shown(sample.value)]);
    if (sample.length_reward) rows.push(["for length", shown(sample.length_reward)]);
    for (const [name, value] of Object.entries(sample.components ?? {})) rows.push([name.replaceAll("_", " "), shown(value)]);
    if (sample.flags.length) rows.push(["flags", sample.flags.join(", ")]);
    if (sample.detail) rows.push(["detail", marked(sample.detail, words)]);
    if (sample.cases) rows.push(["cases", cases(sample.cases, words)]);
    for (const [name, value] of Object.entries(sample.provenance ?? {})) rows.push([name.replaceAll("_", " "), value]);
    return rows.length ? make("dl", {}, rows.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])) : null;
  }

  function footer(sample) {
    const parts = [`${sample.tokens.toLocaleString("en")} tokens`, sample.finish];
    if (sample.temperature !== undefined) parts.push(`T ${shown(sample.temperature)}`);
    if (sample.version !== undefined) parts.push(`weights ${sample.version}`);
    return parts.filter(Boolean).join(" \u00b7 ");
  }

  /* A text with the words of a search marked; nodes, never markup. */
  function marked(text, words) {
    const low = text.toLowerCase();
    if (!words || low.length !== text.length) return [text];
    const nodes = [];
    let at = 0;
    for (let hit = low.indexOf(words); hit >= 0 && nodes.length < 400; hit = low.indexOf(words, at)) {
      nodes.push(text.slice(at, hit), make("mark", {}, text.slice(hit, hit + words.length)));
      at = hit + words.length;
    }
    return [...nodes, text.slice(at)];
  }

  function scale(colour) {
    if (!colour) return null;
    const ends = { logprob: ["expected", "surprise, 5 nats"], gap: ["0", "0.5 nats"], advantage: ["below its siblings", "above"] }[colour];
    const tint = colour === "advantage"
      ? "linear-gradient(90deg, rgba(var(--heat), .45), transparent, rgba(var(--cool), .45))"
      : `linear-gradient(90deg, transparent, rgba(var(${TINT[colour]}), .75))`;
    return make("span", { class: "scale" }, ends[0], make("i", { style: { background: tint } }), ends[1]);
  }

  return { COLOURS, group, scale };
})();
