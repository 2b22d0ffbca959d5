// Status: the lifecycle with its buttons, and what diagnostics say of each camera.

import {element, note} from './dom.js';

const MEANING = {
  unconfigured: 'Unconfigured: no model is loaded.',
  inactive: 'Inactive: the model is loaded, and the node pauses.',
  active: 'Active: the node segments.',
  finalized: 'Finalized: the node has ended.',
  configuring: 'Configuring: the model is being loaded …',
  activating: 'Activating …',
  deactivating: 'Deactivating …',
  cleaningup: 'Freeing the model …',
};
const VERBS = {configure: 'Configure', activate: 'Activate', deactivate: 'Deactivate',
  cleanup: 'Clean up'};

export class Status {
  constructor(place, page) {
    this.page = page;
    this.state = element('p', {role: 'status'});
    this.buttons = element('div', {class: 'row'});
    this.error = element('p', {class: 'note error', role: 'alert'});
    this.cameras = element('div', {class: 'hits'});
    place.append(element('h2', {}, 'Lifecycle'), this.state, this.buttons, this.error,
      element('h2', {}, 'Diagnostics'), this.cameras);
  }

  update() {
    const {state, diagnostics} = this.page.sections;
    this.state.textContent = !state ? 'No node.' : MEANING[state.label] ?? (state.label
      || 'The node has not said yet what state it is in.');
    const offered = (state?.transitions ?? []).join();
    if (offered !== this.offered || this.wasReadOnly !== this.page.readOnly) {
      this.offered = offered;
      this.wasReadOnly = this.page.readOnly;
      this.buttons.replaceChildren(...(state?.transitions ?? []).map((name) => element('button', {
        type: 'button', disabled: this.page.readOnly, onclick: () => this.go(name)}, VERBS[name])));
    }
    this.cameras.replaceChildren(...Object.entries(diagnostics ?? {}).map(
      ([camera, {level, message, values}]) => element('section', {},
        element('h3', {}, camera),
        element('p', {class: `condition ${level}`}, message),
        element('dl', {}, ...Object.entries(values).filter(([, value]) => value).flatMap(
          ([key, value]) => [element('dt', {}, key), element('dd', {}, value)])))));
  }

  async go(transition) {
    for (const button of this.buttons.children) button.disabled = true;
    note(this.error, '', 'error');
    const {ok, message} = await this.page.ask({action: 'change_state', transition});
    note(this.error, ok ? '' : message, 'error');
    this.offered = null;
    this.update();
  }
}
