// Small helpers around elements, and the messages that everybody should notice.

/** Return an element; `properties` are attributes, handlers (onclick) and properties. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'class') made.className = value;
    else if (key.includes('-') || key === 'for' || key === 'role') made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Return a patch of a colour, which is a list of red, green and blue. */
export function swatch(color) {
  const made = element('span', {class: 'swatch', 'aria-hidden': 'true'});
  made.style.setProperty('--color', `rgb(${color.join(',')})`);
  return made;
}

const filled = new WeakMap();

/**
 * Fill a place with what `make` returns, unless all that it is made of is what it was before: a
 * click on what is replaced under it is lost. The button that has the focus keeps it.
 */
export function fill(place, parts, make) {
  const before = filled.get(place);
  if (before && parts.every((part, i) => part === before[i])) return;
  filled.set(place, parts);
  const buttons = () => [...place.querySelectorAll('button')];
  const focused = document.activeElement;
  const label = place.contains(focused) && (focused.ariaLabel ?? focused.textContent);
  place.replaceChildren(...make());
  if (label) buttons().find((each) => (each.ariaLabel ?? each.textContent) === label)?.focus();
}

/** Say something to everybody, for some seconds and to screen readers. */
export function announce(text) {
  const said = element('p', {}, text);
  byId('messages').append(said);
  setTimeout(() => said.remove(), 6000);
}

/** Show a note of a kind (error, busy, warn), or none for an empty text. */
export function note(place, text, kind = '') {
  if (place.textContent !== text) place.textContent = text;
  place.className = `note ${kind}`;
}
