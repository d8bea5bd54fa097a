"use strict";
/* The browser of samples: which groups there are and which of them a filter finds. Nothing is drawn here.

   The index has a number per sample and column, so filters open no part of the file. A search opens one part after the
   other and tells how far it is; it stops when a newer one begins. */

const Samples = (() => {
  const NONE = { run: "", gym: "", status: "", flag: "", from: "", to: "", low: "", high: "", q: "", order: "latest", colour: "", page: 1 };
  let indexes = []; // of each run: columns, part starts
  let groups = []; // { run, start, end, part }
  let latest = 0; // number of the newest search

  async function open(facts) {
    indexes = await Promise.all(facts.runs.map(async (run, r) => {
      const columns = JSON.parse(await Blobs.text(`index-${r}`));
      const starts = [0];
      for (const num of run.parts) starts.push(starts[starts.length - 1] + num);
      return { ...columns, starts, num: starts[starts.length - 1], vocabulary: null };
    }));
    groups = indexes.flatMap((index, run) => groupsOf(index, run));
  }

  function groupsOf(index, run) {
    const found = [];
    let part = 0;
    for (let start = 0, end; start < index.num; start = end) {
      end = start + 1;
      while (end < index.num && index.draw[end] === index.draw[start] && index.step[end] === index.step[start]) end++;
      while (index.starts[part + 1] <= start) part++;
      found.push({ run, start, end, part });
    }
    return found;
  }

  /* Whether sample i of a run passes all filters but the search; numbers that are not set are "". */
  function tester(filter, facts) {
    const tests = indexes.map((index) => {
      const flags = new Set(index.flag_sets.flatMap((set, n) => (set.split(" ").includes(filter.flag) ? [n] : [])));
      const gym = index.gyms.indexOf(filter.gym);
      const status = index.statuses.indexOf(filter.status);
      const bound = (text, otherwise) => (text === "" || Number.isNaN(Number(text)) ? otherwise : Number(text));
      const [from, to] = [bound(filter.from, -Infinity), bound(filter.to, Infinity)];
      const [low, high] = [bound(filter.low, -Infinity), bound(filter.high, Infinity)];
      return (i) =>
        (!filter.gym || index.gym[i] === gym) && (!filter.status || index.status[i] === status) &&
        (!filter.flag || flags.has(index.flags[i])) && index.step[i] >= from && index.step[i] <= to &&
        index.reward[i] >= low && index.reward[i] <= high;
    });
    return (run, i) => (!filter.run || facts.runs[run].label === filter.run) && tests[run](i);
  }

  function some(group, test) {
    for (let i = group.start; i < group.end; i++) if (test(group.run, i)) return true;
    return false;
  }

  function ordered(found, order) {
    const step = (group) => indexes[group.run].step[group.start];
    const spread = (group) => {
      const rewards = indexes[group.run].reward.slice(group.start, group.end);
      return Math.max(...rewards) - Math.min(...rewards);
    };
    if (order === "latest") return found.sort((a, b) => step(b) - step(a) || a.run - b.run || a.start - b.start);
    if (order === "spread") return found.map((g) => [spread(g), g]).sort((a, b) => b[0] - a[0]).map((pair) => pair[1]);
    return found.sort((a, b) => step(a) - step(b) || a.run - b.run || a.start - b.start);
  }

  /* Groups with a sample that passes; with a search their texts are read part by part.
     `tell(found, read, total)` is called as it goes on; the result is null where a newer search has begun. */
  async function find(filter, facts, tell) {
    const mine = ++latest;
    const test = tester(filter, facts);
    const candidates = ordered(groups.filter((group) => some(group, test)), filter.order);
    const words = filter.q.trim().toLowerCase();
    if (!words) return { groups: candidates, passes: test };
    const hits = new Set(); // "run/sample"
    const parts = new Map();
    for (const group of candidates) {
      const key = `texts-${group.run}-${group.part}`;
      parts.set(key, [...(parts.get(key) || []), group]);
    }
    const found = new Set();
    let read = 0;
    for (const [key, inside] of parts) {
      const part = await Blobs.json(key);
      if (mine !== latest) return null;
      const first = indexes[inside[0].run].starts[inside[0].part];
      for (const group of inside) {
        for (let i = group.start; i < group.end; i++) {
          if (test(group.run, i) && holds(part, i - first, words)) {
            hits.add(`${group.run}/${i}`);
            found.add(group);
          }
        }
      }
      if (++read % 8 === 0) {
        tell(found.size, read, parts.size);
        await new Promise((done) => setTimeout(done));
        if (mine !== latest) return null;
      }
    }
    const passes = (run, i) => hits.has(`${run}/${i}`);
    return { groups: candidates.filter((group) => found.has(group)), passes };
  }

  function holds(part, at, words) {
    const sample = part.samples[at];
    part.owner ??= part.groups.flatMap((group) => Array(group.num).fill(group));
    const { task, prompt } = part.owner[at];
    const said = (sample.turns ?? []).flatMap((turn) => [turn.text, ...turn.calls, ...turn.replies.map((reply) => reply[1])]);
    const texts = [sample.text, ...said, task, sample.answer, sample.detail, ...prompt.map((message) => message[1])];
    return texts.some((text) => text && text.toLowerCase().includes(words));
  }

  /* A group with its texts, and its tokens where `tokens` is set and there are any. */
  async function contents(group, tokens) {
    const index = indexes[group.run];
    const part = await Blobs.json(`texts-${group.run}-${group.part}`);
    part.owner ??= part.groups.flatMap((one) => Array(one.num).fill(one));
    const first = index.starts[group.part];
    const about = part.owner[group.start - first];
    let stored = null;
    if (tokens && document.getElementById(`tokens-${group.run}-${group.part}`)) {
      index.vocabulary ??= JSON.parse(await Blobs.text(`vocabulary-${group.run}`));
      stored = await Blobs.json(`tokens-${group.run}-${group.part}`);
    }
    const samples = [];
    for (let i = group.start; i < group.end; i++) {
      const at = i - first;
      const pieces = stored && { ids: stored.ids[at], logprobs: stored.logprobs[at], learner: stored.learner[at], stretches: stored.stretches[at] };
      samples.push({
        i, ...part.samples[at], k: index.k[i], reward: index.reward[i], adv: index.adv[i],
        status: index.statuses[index.status[i]], flags: index.flag_sets[index.flags[i]].split(" ").filter(Boolean),
        pieces: pieces && pieces.ids.length ? pieces : null,
      });
    }
    const gym = index.gyms[index.gym[group.start]];
    return { ...about, gym, step: index.step[group.start], draw: index.draw[group.start], samples, vocabulary: index.vocabulary };
  }

  function locate(run, step, draw) {
    const index = indexes[run];
    return index && groups.find((g) => g.run === run && index.step[g.start] === step && index.draw[g.start] === draw);
  }

  const names = (column) => [...new Set(indexes.flatMap((index) => index[column]))].filter(Boolean).sort();
  const flags = () => [...new Set(names("flag_sets").flatMap((set) => set.split(" ")))].sort();
  const hasTokens = () => indexes.some((_, run) => document.getElementById(`vocabulary-${run}`));
  const size = () => indexes.reduce((sum, index) => sum + index.num, 0);
  return { NONE, open, find, contents, locate, names, flags, hasTokens, size };
})();
