// Elements made in one line, for figures.

export function make(kind, properties) {
  return Object.assign(document.createElement(kind), properties);
}

export function svg(kind, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
