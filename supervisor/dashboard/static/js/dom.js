// Small steps on the page. Whatever comes from services is text and never becomes HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function makeSvg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Writing what is there already would cost a layout all the same.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export function classify(node, kind) {
  if (node.dataset.kind === kind) return;
  if (node.dataset.kind) node.classList.remove(node.dataset.kind);
  node.classList.add(kind);
  node.dataset.kind = kind;
}
