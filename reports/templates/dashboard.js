
"use strict";
(() => {
  const told = document.getElementById("told");
  const find = document.getElementById("find");
  const only = document.getElementById("only");
  const rows = [...document.querySelectorAll("#health tbody tr")];
  const words = rows.map((row) => row.textContent.toLowerCase());

  const filter = () => {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const fits = only.value === "" || (only.value === "silent" ? "silent" in row.dataset : row.dataset.verdict === only.value);
      row.hidden = !(fits && wanted.every((word) => words[place].includes(word)));
      shown += row.hidden ? 0 : 1;
    });
    told.textContent = `${shown} of ${rows.length} machines shown`;
  };

  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.key ?? cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text.toLowerCase();
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

  const sort = (table, heading) => {
    const isUp = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const body = table.tBodies[0];
    const sorted = [...body.rows].map((row) => [key(row, heading.cellIndex), row]);
    sorted.sort((a, b) => (isUp ? order(a[0], b[0]) : order(b[0], a[0])));
    body.append(...sorted.map((pair) => pair[1]));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      if ("still" in heading.dataset) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => sort(table, heading));
      heading.replaceChildren(button);
    }
  }
  find.addEventListener("input", filter);
  only.addEventListener("change", filter);
  document.querySelector(".tools").hidden = false;
  filter();
})();
