// Settings, as the node describes its parameters: ranges are sliders, choices menus.

import {announce, element, note} from './dom.js';

// What other tabs are for.
const ELSEWHERE = ['vocabulary', 'teach_name', 'teach_region', 'teach_camera', 'find'];
// A slider is no good for more steps than it has pixels.
const LARGEST_SLIDER = 1000;

export class Settings {
  constructor(place, page) {
    this.page = page;
    this.rows = new Map();
    this.search = element('input', {type: 'text', id: 'search-settings', autocomplete: 'off',
      oninput: () => this.filter()});
    this.list = element('div', {});
    place.append(element('h2', {}, 'Settings'),
      element('label', {class: 'field', for: 'search-settings'}, 'Search', this.search), this.list);
  }

  update() {
    const parameters = (this.page.sections.parameters ?? [])
      .filter(({name}) => !ELSEWHERE.includes(name));
    const names = parameters.map(({name}) => name).join();
    if (names !== this.names || this.wasReadOnly !== this.page.readOnly) {
      this.names = names;
      this.wasReadOnly = this.page.readOnly;
      this.rows = new Map(parameters.map((each) => [each.name, new Row(each, this.page)]));
      this.list.replaceChildren(...[...this.rows.values()].map((row) => row.place));
      this.filter();
    }
    for (const each of parameters) this.rows.get(each.name).update(each);
  }

  filter() {
    const text = this.search.value.trim().toLowerCase();
    for (const {place, text: own} of this.rows.values()) place.hidden = !own.includes(text);
  }
}

class Row {
  constructor(parameter, page) {
    this.page = page;
    this.parameter = parameter;
    this.text = `${parameter.name} ${parameter.description}`.toLowerCase();
    const id = `setting-${parameter.name}`;
    this.inputs = this.controls(parameter, id);
    this.apply = element('button', {type: 'button', class: 'small', hidden: true,
      onclick: () => this.send()},
    parameter.reconfigure ? 'Apply and reconfigure' : 'Apply');
    this.error = element('p', {class: 'note error', role: 'alert'});
    const fixed = parameter.read_only || page.readOnly;
    for (const input of this.inputs) input.disabled = fixed;
    this.place = element('div', {class: 'setting'},
      element('label', {for: id}, element('code', {}, parameter.name),
        parameter.reconfigure ? element('span', {class: 'badge accent'}, 'needs a reconfigure') : null,
        parameter.read_only ? element('span', {class: 'badge'}, 'set at the start') : null),
      element('p', {class: 'quiet', id: `${id}-help`}, parameter.description
        + (parameter.limits && !parameter.choices.length ? ` Takes ${parameter.limits}.` : '')),
      element('div', {class: 'control'}, ...this.inputs, this.apply), this.error);
    this.inputs[0].setAttribute('aria-describedby', `${id}-help`);
  }

  controls(parameter, id) {
    const {value, choices, bounds, whole, name} = parameter;
    const changed = () => this.changed();
    if (typeof value === 'boolean') {
      return [element('input', {type: 'checkbox', id, oninput: changed})];
    }
    if (choices.length) {
      return [element('select', {id, oninput: changed},
        ...choices.map((choice) => element('option', {value: choice}, choice)))];
    }
    if (typeof value === 'number') {
      const [min, max] = bounds ?? ['', ''];
      const step = whole ? 1 : 'any';
      const number = element('input', {type: 'number', id, min, max, step, oninput: changed});
      if (!bounds || max - min > LARGEST_SLIDER) return [number];
      const slider = element('input', {type: 'range', min, max,
        step: whole ? 1 : (max - min) / 200, 'aria-label': `${name}, as a slider`,
        oninput: () => { number.value = slider.value; changed(); }});
      number.addEventListener('input', () => { slider.value = number.value; });
      this.slider = slider;
      return [number, slider];
    }
    return [element('input', {type: 'text', id, autocomplete: 'off', oninput: changed})];
  }

  update(parameter) {
    const before = this.parameter;
    this.parameter = parameter;
    // What somebody is typing stays.
    if (this.apply.hidden || String(before.value) !== String(parameter.value)) this.fill();
  }

  fill() {
    const {value} = this.parameter;
    const [input] = this.inputs;
    if (typeof value === 'boolean') input.checked = value;
    else input.value = Array.isArray(value) ? value.join(', ') : value;
    if (this.slider) this.slider.value = value;
    this.apply.hidden = true;
  }

  read() {
    const {value} = this.parameter;
    const [input] = this.inputs;
    if (typeof value === 'boolean') return input.checked;
    if (typeof value === 'number') return input.valueAsNumber;
    return input.value;
  }

  changed() {
    const {value} = this.parameter;
    this.apply.hidden = String(this.read())
      === (Array.isArray(value) ? value.join(', ') : String(value));
    note(this.error, '', 'error');
  }

  async send() {
    const value = this.read();
    if (Number.isNaN(value)) {
      note(this.error, 'Give a number.', 'error');
      return;
    }
    this.apply.disabled = true;
    const {name, reconfigure} = this.parameter;
    if (reconfigure) note(this.error, 'The model is freed and loaded again …', 'busy');
    const {ok, message} = await this.page.ask({
      action: reconfigure ? 'reconfigure' : 'set', values: {[name]: value}});
    this.apply.disabled = false;
    this.apply.hidden = ok;
    note(this.error, ok ? '' : message, 'error');
    if (ok) announce(`${name} is set`);
  }
}
