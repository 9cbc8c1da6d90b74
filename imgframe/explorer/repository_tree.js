// The tree of repositories. Names are put in as text, never as markup.

const FEW = 3; // so many registries are shown open

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "imgframe-tree";
  el.append(root);
  const open = new Set([0]);
  let children = [];

  function read() {
    const parents = model.get("parents");
    children = parents.map(() => []);
    parents.forEach((parent, node) => parent >= 0 && children[parent].push(node));
    const registries = children[0] ?? [];
    if (registries.length <= FEW) registries.forEach((node) => open.add(node));
  }

  function choose(node) {
    model.set("chosen", node);
    model.save_changes();
  }

  function line(node, label, count) {
    const row = document.createElement("div");
    row.className = count ? "node" : "node none";
    const twist = document.createElement("button");
    twist.type = "button";
    twist.className = "twist";
    if (node > 0 && children[node].length) {
      twist.textContent = open.has(node) ? "▾" : "▸";
      twist.ariaLabel = open.has(node) ? "close" : "open";
      twist.ariaExpanded = String(open.has(node));
      twist.onclick = () => {
        open.has(node) ? open.delete(node) : open.add(node);
        draw();
      };
    } else {
      twist.disabled = true;
      twist.style.visibility = "hidden";
    }
    const name = document.createElement("button");
    name.type = "button";
    name.className = "name";
    name.textContent = label;
    name.title = label;
    name.ariaPressed = String(model.get("chosen") === node);
    name.onclick = () => choose(node);
    const number = document.createElement("span");
    number.className = "count";
    number.textContent = count.toLocaleString("en");
    row.append(twist, name, number);
    return row;
  }

  function branch(node) {
    const labels = model.get("labels");
    const counts = model.get("counts");
    const list = document.createElement("ul");
    for (const child of children[node]) {
      const item = document.createElement("li");
      item.append(line(child, labels[child], counts[child] ?? 0));
      if (open.has(child) && children[child].length) item.append(branch(child));
      list.append(item);
    }
    return list;
  }

  function draw() {
    const scrolled = root.scrollTop;
    root.replaceChildren(line(0, "all repositories", (model.get("counts") ?? [])[0] ?? 0), branch(0));
    root.scrollTop = scrolled;
  }

  function reveal() {
    const parents = model.get("parents");
    for (let node = parents[model.get("chosen")]; node > 0; node = parents[node]) open.add(node);
    draw();
  }

  const renew = () => (read(), reveal());
  model.on("change:parents", renew);
  model.on("change:labels", renew);
  model.on("change:counts", draw);
  model.on("change:chosen", reveal);
  renew();
  return () => {
    model.off("change:parents", renew);
    model.off("change:labels", renew);
    model.off("change:counts", draw);
    model.off("change:chosen", reveal);
  };
}

export default { render };
