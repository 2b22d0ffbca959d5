// Find: phrases that are looked for, the heat of the strongest, and what was found.

import {element, fill, note} from './dom.js';
import {far, percent} from './picture.js';

const MOST = 8;

export class Find {
  constructor(place, page) {
    this.page = page;
    this.typed = element('input', {type: 'text', id: 'phrase', autocomplete: 'off',
      placeholder: 'the fire extinguisher'});
    this.form = element('form', {class: 'row', onsubmit: (event) => {
      event.preventDefault();
      this.add();
    }}, element('label', {class: 'hidden', for: 'phrase'}, 'Look for'), this.typed,
    element('button', {type: 'submit', class: 'main'}, 'Find'));
    this.chips = element('ul', {class: 'chips', 'aria-label': 'Looked for'});
    this.error = element('p', {class: 'note error', role: 'alert'});
    this.hits = element('ul', {class: 'hits'});
    this.state = element('p', {class: 'quiet', role: 'status'});
    this.threshold = element('input', {type: 'range', min: 0, max: 1, step: 0.01,
      id: 'threshold', onchange: () => this.set({find_threshold: this.threshold.valueAsNumber})});
    this.bar = element('label', {class: 'slide'}, 'Threshold', this.threshold);
    place.append(element('h2', {}, 'Where is …'), this.form, this.chips, this.error, this.bar,
      this.hits, this.state);
  }

  phrases() {
    return this.page.names('find');
  }

  update() {
    const known = Boolean(this.page.parameter('find'));
    this.form.hidden = !known || this.page.readOnly;
    const threshold = this.page.parameter('find_threshold');
    this.bar.hidden = !threshold || this.page.readOnly;
    if (threshold && document.activeElement !== this.threshold) {
      this.threshold.value = threshold.value;
    }
    fill(this.chips, [this.page.sections.parameters, this.page.readOnly], () => this.phrases().map(
      (phrase) => element('li', {class: 'chip'}, phrase, this.page.readOnly ? null : element(
        'button', {type: 'button', 'aria-label': `Stop looking for ${phrase}`,
          onclick: () => this.look(this.phrases().filter((each) => each !== phrase))}, '×'))));
    if (!this.page.sections.parameters) this.state.textContent = '';
    else if (!known) this.state.textContent = 'This node cannot find: it has no parameter find.';
    else if (!this.phrases().length) {
      this.state.textContent = 'Type what to look for, in words of your own.';
      this.hits.replaceChildren();
    }
  }

  /** Show what a frame has of what is looked for. */
  show(found) {
    if (!found || !this.phrases().length) return;
    const hits = [...found].sort((one, other) => other.score - one.score);
    const anyFar = hits.some(far);
    this.hits.replaceChildren(...hits.map((hit) => element('li', {},
      element('span', {}, hit.phrase),
      element('span', {class: 'quiet'}, percent(hit.score)),
      anyFar ? element('span', {class: 'far'}, far(hit)) : null)));
    const text = hits.length ? `${hits.length} found` : 'Nothing in view is like it.';
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  async add() {
    const phrase = this.typed.value.trim();
    if (!phrase) return;
    const phrases = [...this.phrases().filter((each) => each !== phrase), phrase].slice(-MOST);
    if (await this.look(phrases)) {
      this.typed.value = '';
      this.page.showLayer('heat');
    }
  }

  /** Look for some phrases; none is an empty text, as lists without items have no type in ROS. */
  look(phrases) {
    return this.set({find: phrases.length ? phrases : ''});
  }

  async set(values) {
    const {ok, message} = await this.page.ask({action: 'set', values});
    note(this.error, ok ? '' : message, 'error');
    return ok;
  }
}
