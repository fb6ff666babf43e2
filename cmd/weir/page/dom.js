// Making and changing elements. Text goes in as text only: there is no markup but what stands here.

const svgSpace = "http://www.w3.org/2000/svg";

// el makes an element; children are elements and texts.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(svgSpace, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// put sets a text, if it is another one: what is selected stays so, and nothing is read out again.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// level marks an element as ok, warn, bad or idle.
export function level(element, value) {
  if (element.dataset.level !== value) element.dataset.level = value;
}

// sync gives parent one child for each item, in order, and keeps those that it has: create makes an item's child, update
// changes it. Keys tell the items apart.
export function sync(parent, items, key, create, update) {
  const had = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    let child = had.get(k);
    if (child) {
      had.delete(k);
    } else {
      child = create(item);
      child.dataset.key = k;
    }
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
    update(child, item);
  }
  for (const child of had.values()) child.remove();
}
