// Search and filter of "All findings". Without it everything is there and can be read.
(() => {
  "use strict";
  const page = document.querySelector(".mm");
  const box = page.querySelector(".mm-filter");
  const list = page.querySelector(".mm-all");
  if (!box || !list) return;
  const field = box.querySelector("input[type=search]");
  const area = box.querySelector("select");
  const outcomes = [...box.querySelectorAll("input[type=checkbox]")];
  const told = box.querySelector("[role=status]");
  const groups = [...list.children].map((group) => ({
    group, wasOpen: group.open, outcome: group.dataset.outcome, shown: group.querySelector(".mm-shown"),
  }));
  let rows = null;
  let timer = 0;

  // What a finding says stands in its own article; a row that only names it is found by it, too.
  function text(row) {
    const link = row.querySelector("a[href^='#']");
    const article = link && document.getElementById(link.hash.slice(1));
    return (row.textContent + (article ? " " + article.textContent : "")).toLowerCase();
  }

  function read() {
    rows = groups.flatMap(({ group, outcome }) =>
      [...group.querySelectorAll("[data-area]")].map((row) => ({
        row, outcome, group, area: row.dataset.area, text: text(row), chunk: row.closest(".mm-chunk"),
      })));
  }

  function isActive() {
    return field.value.trim() !== "" || area.value !== "" || outcomes.some((each) => each.checked);
  }

  function apply() {
    clearTimeout(timer);
    if (!rows) read();
    const active = isActive();
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = new Set(outcomes.filter((each) => each.checked).map((each) => each.value));
    const counts = new Map();
    const full = new Set();
    for (const each of rows) {
      const fits = (!chosen.size || chosen.has(each.outcome)) &&
        (!area.value || each.area === area.value) && words.every((word) => each.text.includes(word));
      if (each.row.hidden === fits) each.row.hidden = !fits;
      if (fits) {
        counts.set(each.group, (counts.get(each.group) || 0) + 1);
        full.add(each.chunk);
      }
    }
    for (const chunk of list.querySelectorAll(".mm-chunk")) chunk.hidden = !full.has(chunk);
    let sum = 0;
    for (const { group, wasOpen, shown } of groups) {
      const count = counts.get(group) || 0;
      sum += count;
      group.hidden = !count;
      group.open = active ? count > 0 : wasOpen;
      shown.textContent = active && count ? ` (${count} shown)` : "";
    }
    told.textContent = active ? `${sum} of ${rows.length} findings shown.` : `All ${rows.length} findings shown.`;
  }

  function clear() {
    field.value = area.value = "";
    for (const each of outcomes) each.checked = false;
    apply();
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(apply, 150);
  }

  // A link into what is filtered out or folded shows it.
  function reveal() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target || !page.contains(target)) return;
    if (target.closest("[hidden]")) clear();
    for (let at = target.parentElement; at && at !== page; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
    target.scrollIntoView();
  }

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...page.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });
  field.addEventListener("input", soon);
  field.addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
  box.addEventListener("change", apply);
  box.addEventListener("reset", () => setTimeout(apply));
  box.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  addEventListener("hashchange", reveal);
  box.hidden = false;
  reveal();
})();
