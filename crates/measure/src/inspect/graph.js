"use strict";
for (const drawing of document.querySelectorAll(".drawing")) {
  const canvas = drawing.querySelector(".canvas"), svg = drawing.querySelector("svg");
  if (!svg) continue;
  const panel = drawing.querySelector("aside"), search = drawing.querySelector("input"), found = drawing.querySelector(".found");
  const nodes = [...svg.querySelectorAll(".node")], edges = [...svg.querySelectorAll("path")];
  const width = +svg.getAttribute("width"), height = +svg.getAttribute("height");
  let scale = 1, hits = [], hit = -1;
  const zoom = (to, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    to = Math.min(4, Math.max(0.05, to));
    const box = svg.getBoundingClientRect(), frame = canvas.getBoundingClientRect();
    const px = (x + frame.left - box.left) / scale, py = (y + frame.top - box.top) / scale;
    scale = to;
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
    const now = svg.getBoundingClientRect();
    canvas.scrollLeft += now.left + px * scale - frame.left - x;
    canvas.scrollTop += now.top + py * scale - frame.top - y;
  };
  const fit = () => zoom(Math.min((canvas.clientWidth - 8) / width, (canvas.clientHeight - 8) / height, 1.5));
  const show = (node) => {
    for (const each of svg.querySelectorAll(".on")) each.classList.remove("on");
    node.classList.add("on");
    for (const edge of edges)
      if (edge.dataset.from === node.dataset.n || edge.dataset.to === node.dataset.n) edge.classList.add("on");
    const source = document.getElementById(node.getAttribute("href").slice(1));
    const copy = source.cloneNode(true);
    copy.removeAttribute("id");
    copy.open = true;
    panel.replaceChildren(copy);
  };
  // Without moving the page, as scrollIntoView would.
  const center = (node) => {
    const box = node.getBoundingClientRect(), frame = canvas.getBoundingClientRect();
    canvas.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
    canvas.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
  };
  let moved = false, from = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0)
      from = [event.clientX, event.clientY, canvas.scrollLeft, canvas.scrollTop];
    moved = false;
  });
  addEventListener("pointermove", (event) => {
    if (!from) return;
    const dx = event.clientX - from[0], dy = event.clientY - from[1];
    if (Math.abs(dx) + Math.abs(dy) > 4) { moved = true; canvas.classList.add("drag"); }
    if (moved) { canvas.scrollLeft = from[2] - dx; canvas.scrollTop = from[3] - dy; }
  });
  addEventListener("pointerup", () => { from = null; canvas.classList.remove("drag"); });
  svg.addEventListener("dragstart", (event) => event.preventDefault());
  svg.addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    if (!node) return;
    event.preventDefault();
    if (!moved) show(node);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const frame = canvas.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });
  const actions = { in: () => zoom(scale * 1.25), out: () => zoom(scale / 1.25), one: () => zoom(1), fit };
  for (const button of drawing.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", actions[button.dataset.zoom]);
  canvas.addEventListener("keydown", (event) => {
    const action = { "+": "in", "=": "in", "-": "out", "1": "one", "0": "fit" }[event.key];
    if (action && !event.ctrlKey && !event.metaKey) { actions[action](); event.preventDefault(); }
    if (event.key === "/") { search.focus(); event.preventDefault(); }
  });
  const seek = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = words.length ? nodes.filter((node) => words.every((word) => node.dataset.words.includes(word))) : [];
    hit = -1;
    for (const node of nodes) node.classList.toggle("hit", hits.includes(node));
    svg.classList.toggle("seek", hits.length > 0);
    found.textContent = words.length ? hits.length + " found" : "";
    if (hits.length) center(hits[0]);
  };
  search.addEventListener("input", seek);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; seek(); }
    if (event.key !== "Enter" || !hits.length) return;
    hit = (hit + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
    found.textContent = hit + 1 + " of " + hits.length;
    center(hits[hit]);
    show(hits[hit]);
  });
  if (nodes.length) center(nodes[0]);
}
