// One page of the table. Everything that comes from images is put in as text, never as markup.

function element(tag, options = {}, ...children) {
  const { className, text, ...rest } = options;
  const made = Object.assign(document.createElement(tag), rest);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

// A name whose middle gives way where there is little room: its tag or digest says more than its path.
function nameParts(name) {
  const path = name.lastIndexOf("/") + 1;
  const at = [name.indexOf("@", path), name.indexOf(":", path)].filter((place) => place > 0);
  const cut = at.length ? Math.min(...at) : name.length;
  return element(
    "div",
    { className: "split" },
    element("span", { className: "front", text: name.slice(0, cut) }),
    element("span", { className: "back", text: name.slice(cut) }),
  );
}

function pageTheme() {
  const body = document.body;
  const dark = body.dataset.jpThemeLight === "false" || body.classList.contains("vscode-dark");
  return dark ? "dark" : "light";
}

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function render({ model, el }) {
  const root = element("div", { className: "imgframe-table" });
  const count = element("span", { className: "grow" });
  const all = element("button", { type: "button", onclick: () => model.send({ kind: "all" }) });
  const none = element("button", {
    type: "button",
    text: "Clear selection",
    onclick: () => model.send({ kind: "none" }),
  });
  const head = element("tr");
  const body = element("tbody");
  const scroll = element("div", { className: "scroll" });
  const where = element("span");
  const turn = (text, label, step) =>
    element("button", { type: "button", text, title: label, ariaLabel: label, onclick: () => go(step) });
  const steps = [
    turn("«", "first page", () => 0),
    turn("‹", "page before", (page) => page - 1),
    turn("›", "next page", (page) => page + 1),
    turn("»", "last page", (_, last) => last),
  ];
  scroll.append(element("table", {}, element("thead", {}, head), body));
  root.append(
    element("div", { className: "bar" }, count, all, none),
    scroll,
    element("div", { className: "bar" }, steps[0], steps[1], where, steps[2], steps[3]),
  );
  el.append(root);
  let anchor = null; // the row of the last click, from which Shift selects

  const pages = () => Math.max(1, Math.ceil(model.get("total") / model.get("page_size")));
  const positions = () => model.get("rows").map((row) => row.position);

  function go(step) {
    const last = pages() - 1;
    model.set("page", Math.min(Math.max(step(model.get("page"), last), 0), last));
    model.save_changes();
  }

  function check(place, on, shift) {
    const here = positions();
    const from = shift && anchor !== null ? anchor : place;
    const chosen = here.slice(Math.min(from, place), Math.max(from, place) + 1);
    anchor = place;
    model.send({ kind: on ? "check" : "uncheck", positions: chosen });
  }

  function sortBy(name) {
    if (model.get("sort") === name) model.set("descending", !model.get("descending"));
    else {
      model.set("sort", name);
      model.set("descending", !["name", "node", "namespace"].includes(name));
    }
    model.save_changes();
  }

  function drawHead() {
    const every = element("input", { type: "checkbox", ariaLabel: "select this page" });
    every.onchange = () => model.send({ kind: every.checked ? "check" : "uncheck", positions: positions() });
    const headings = model.get("columns").map((column) => {
      const sorted = model.get("sort") === column.name;
      const mark = sorted ? (model.get("descending") ? " ▾" : " ▴") : "";
      const cell = element(
        "th",
        { className: `${column.kind} weight${column.weight}`, title: column.meaning, scope: "col" },
        element("button", { type: "button", text: column.heading + mark, onclick: () => sortBy(column.name) }),
      );
      if (sorted) cell.ariaSort = model.get("descending") ? "descending" : "ascending";
      return cell;
    });
    head.replaceChildren(element("th", { scope: "col" }, every), ...headings);
  }

  function drawRows() {
    const columns = model.get("columns");
    anchor = null;
    const rows = model.get("rows").map((row, place) => {
      const box = element("input", { type: "checkbox", ariaLabel: `select ${row.cells[0]}` });
      box.onclick = (event) => check(place, box.checked, event.shiftKey);
      const cells = columns.map((column, at) => {
        const className = `${column.kind} ${column.name} weight${column.weight}`;
        const text = row.cells[at];
        return element("td", { className, title: row.titles[at] }, column.name === "name" ? nameParts(text) : text);
      });
      return element("tr", {}, element("td", {}, box), ...cells);
    });
    if (!rows.length) {
      const text = "No image matches.";
      rows.push(element("tr", {}, element("td", { className: "empty", colSpan: columns.length + 1, text })));
    }
    body.replaceChildren(...rows);
    scroll.scrollTop = 0;
    drawChecks();
  }

  function drawChecks() {
    const chosen = new Set(model.get("checked"));
    const here = positions();
    here.forEach((position, place) => {
      const row = body.children[place];
      if (!row) return;
      row.classList.toggle("on", chosen.has(position));
      row.querySelector("input").checked = chosen.has(position);
    });
    const every = head.querySelector("input");
    every.checked = here.length > 0 && chosen.size === here.length;
    every.indeterminate = chosen.size > 0 && chosen.size < here.length;
  }

  function drawBars() {
    const [total, page, size] = ["total", "page", "page_size"].map((name) => model.get(name));
    const [selected, elsewhere] = [model.get("selected"), model.get("elsewhere")];
    const aside = elsewhere ? ` (${elsewhere.toLocaleString("en")} not shown)` : "";
    count.textContent = `${plural(total, "image")}, ${selected.toLocaleString("en")} selected${aside}`;
    all.textContent = `Select all ${total.toLocaleString("en")}`;
    all.disabled = !total;
    none.disabled = !selected;
    const last = Math.min((page + 1) * size, total);
    where.textContent = total
      ? `${(page * size + 1).toLocaleString("en")} – ${last.toLocaleString("en")} of ${total.toLocaleString("en")}`
      : "0 of 0";
    steps[0].disabled = steps[1].disabled = page <= 0;
    steps[2].disabled = steps[3].disabled = page >= pages() - 1;
  }

  function tellTheme() {
    if (model.get("shown") && model.get("theme") === pageTheme()) return;
    model.set("theme", pageTheme());
    model.set("shown", true);
    model.save_changes();
  }

  const listen = [
    ["change:rows", drawRows],
    ["change:checked", drawChecks],
    ["change:columns change:sort change:descending", () => (drawHead(), drawChecks())],
    ["change:total change:page change:selected change:elsewhere", drawBars],
  ];
  listen.forEach(([names, draw]) => names.split(" ").forEach((name) => model.on(name, draw)));
  const watch = new MutationObserver(tellTheme);
  watch.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  drawHead();
  drawRows();
  drawBars();
  tellTheme();
  return () => {
    watch.disconnect();
    listen.forEach(([names, draw]) => names.split(" ").forEach((name) => model.off(name, draw)));
  };
}

export default { render };
