"use strict";
// A click on a head sorts the rows that the page shows; numbers by value, text by its characters, unknown last.
for (const head of document.querySelectorAll("thead th")) {
  const table = head.closest("table");
  if (table.classList.contains("rules")) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  const numeric = ["bytes", "count", "days", "flag"].some((kind) => head.classList.contains(kind));
  const sort = () => {
    const falls = head.getAttribute("aria-sort") !== "descending" && (numeric || head.hasAttribute("aria-sort"));
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const at = head.cellIndex, body = table.tBodies[0], sign = falls ? -1 : 1;
    const key = (row) => row.cells[at].dataset.order;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (numeric ? Number(x) - Number(y) : x < y ? -1 : x > y ? 1 : 0);
    });
    body.append(...rows);
  };
  button.addEventListener("click", sort);
}
