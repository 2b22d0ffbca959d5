// The page: what is chosen and shown, and which part is told of what.

import {Connection} from './connection.js';
import {byId, element} from './dom.js';
import {Find} from './find.js';
import {Picture, unpack} from './picture.js';
import {Settings} from './settings.js';
import {Status} from './status.js';
import {Teach} from './teach.js';
import {Words} from './words.js';

const TABS = ['words', 'find', 'teach', 'settings', 'status'];
// Milliseconds without a frame after which the page says what it waits for.
const PATIENCE = 2500;
// Frames of which the rate is told.
const COUNTED = 20;

class Page {
  constructor() {
    this.nodes = [];
    this.node = '';
    this.camera = '';
    this.sections = {};
    this.readOnly = false;
    this.lost = 'Connecting …';
    this.times = [];
    this.skipped = 0;
    this.lastNumber = -1;
    this.lastFrame = 0;
    this.picture = new Picture();
    this.parts = {
      words: new Words(byId('words'), this), find: new Find(byId('find'), this),
      teach: new Teach(byId('teach'), this, this.picture),
      settings: new Settings(byId('settings'), this), status: new Status(byId('status'), this)};
    this.listen();
    this.chooseTab(TABS.includes(sessionStorage.getItem('tab')) ? sessionStorage.getItem('tab') : 'words');
    this.connection = new Connection();
    this.connection.addEventListener('hello', ({detail}) => this.greet(detail));
    this.connection.addEventListener('nodes', ({detail}) => this.takeNodes(detail.nodes));
    this.connection.addEventListener('section', ({detail}) => this.takeSection(detail));
    this.connection.addEventListener('frame', ({detail}) => this.takeFrame(detail));
    this.connection.addEventListener('lost', ({detail}) => this.lose(detail.refused));
    setInterval(() => this.tell(), 500);
  }

  listen() {
    byId('node').onchange = ({target}) => this.choose(...JSON.parse(target.value));
    for (const radio of document.getElementsByName('shown')) {
      radio.onchange = () => this.showLayer(radio.value);
    }
    byId('opacity').oninput = ({target}) => {
      this.picture.opacity = target.value / 100;
      this.picture.paintSoon();
    };
    byId('beside').onchange = ({target}) => {
      this.picture.beside = target.checked;
      byId('second').hidden = !target.checked;
      this.picture.paintSoon();
    };
    this.picture.addEventListener('pointed', () => this.watch());
    for (const name of TABS) {
      const tab = byId(`tab-${name}`);
      tab.onclick = () => this.chooseTab(name);
      tab.onkeydown = ({key}) => {
        const step = {ArrowRight: 1, ArrowLeft: -1}[key];
        if (!step) return;
        const next = TABS[(TABS.indexOf(name) + step + TABS.length) % TABS.length];
        this.chooseTab(next);
        byId(`tab-${next}`).focus();
      };
    }
  }

  chooseTab(name) {
    this.tab = name;
    sessionStorage.setItem('tab', name);
    for (const each of TABS) {
      byId(`tab-${each}`).setAttribute('aria-selected', String(each === name));
      byId(`tab-${each}`).tabIndex = each === name ? 0 : -1;
      byId(each).hidden = each !== name;
    }
    this.picture.take(name === 'teach' && !this.readOnly ? this.parts.teach.tool : null);
    this.parts[name].update();
    this.watch();
  }

  choose(node, camera) {
    if (node !== this.node) this.sections = {};
    this.node = node;
    this.camera = camera;
    this.times = [];
    this.lastFrame = 0;
    this.picture.setLegend(null);
    this.parts.teach.clear();
    this.picture.clear();
    this.update();
    this.watch();
  }

  /** Say what is to be sent: what is on the screen, and no more. */
  watch() {
    if (!this.connection) return;
    const kinds = new Set(['image', 'labels']);
    if (['confidence', 'heat'].includes(this.picture.shown)) kinds.add(this.picture.shown);
    if (this.picture.at) kinds.add('confidence');
    if (this.tab === 'find' || this.picture.shown === 'heat') kinds.add('found');
    if (this.names('object_classes').length) kinds.add('objects');
    const frozen = this.tab === 'teach' && Boolean(this.parts.teach.frozen());
    const wanted = {node: this.node, camera: this.camera, kinds: [...kinds].sort(), frozen};
    if (JSON.stringify(wanted) !== JSON.stringify(this.connection.watched)) {
      this.connection.watch(wanted);
    }
  }

  showLayer(name) {
    this.picture.shown = name;
    for (const radio of document.getElementsByName('shown')) radio.checked = radio.value === name;
    this.picture.paintSoon();
    this.watch();
  }

  parameter(name) {
    return this.sections.parameters?.find((each) => each.name === name);
  }

  /** Return the names in a parameter, which is a list or a text with commas between them. */
  names(parameter) {
    const value = this.parameter(parameter)?.value ?? [];
    return (Array.isArray(value) ? value : String(value).split(','))
      .map((name) => name.trim()).filter(Boolean);
  }

  ask(request) {
    return this.connection.ask({node: this.node, ...request});
  }

  // What the connection tells.

  greet({read_only: readOnly, presets}) {
    this.lost = '';
    this.readOnly = readOnly;
    this.parts.words.setPresets(presets);
    this.chooseTab(this.tab);
    this.update();
  }

  lose(refused) {
    this.lost = refused || 'The connection is lost: trying again …';
    this.tell();
  }

  takeNodes(nodes) {
    this.nodes = nodes;
    const options = nodes.flatMap(({name, cameras}) => cameras.length
      ? cameras.map((camera) => [name, camera.name]) : [[name, '']]);
    const select = byId('node');
    select.replaceChildren(...options.map(([name, camera]) => element('option', {
      value: JSON.stringify([name, camera])}, camera ? `${name} · ${camera}` : name)));
    select.hidden = !options.length;
    if (!options.some(([name, camera]) => name === this.node && camera === this.camera)) {
      if (options.length) this.choose(...(options.find(([name]) => name === this.node) ?? options[0]));
      else this.choose('', '');
    }
    select.value = JSON.stringify([this.node, this.camera]);
    this.tell();
  }

  takeSection({node, section, value}) {
    if (node !== this.node) return;
    this.sections[section] = value;
    if (section === 'legend') this.picture.setLegend(value);
    this.update();
    this.watch();
  }

  async takeFrame(data) {
    try {
      const frame = unpack(data);
      if (frame.header.node === this.node && frame.header.camera === this.camera) {
        await this.display(frame);
      }
    } finally {
      this.connection.send({type: 'ack'});
    }
  }

  async display(frame) {
    const shares = await this.picture.show(frame);
    const {header} = frame;
    if (!header.frozen) {
      if (header.number > this.lastNumber + 1 && this.lastNumber >= 0) {
        this.skipped += header.number - this.lastNumber - 1;
      }
      this.lastNumber = header.number;
      this.times = [...this.times, performance.now()].slice(-COUNTED);
    }
    this.lastFrame = performance.now();
    if (shares) this.parts.words.setShares(shares);
    this.parts.words.setObjects(this.picture.objects);
    if (header.found) this.parts.find.show(header.found.found);
    this.parts.teach.shown(header);
    this.tell();
  }

  // What the page tells.

  update() {
    this.parts[this.tab].update();
    byId('heat-choice').hidden = !this.parameter('find');
    this.tell();
  }

  /** Say in one line how it stands, over the picture what it waits for, and the figures. */
  tell() {
    const [level, text] = this.condition();
    const line = byId('condition');
    if (line.textContent !== text) line.textContent = text;
    line.className = `condition ${level}`;
    const waiting = byId('waiting');
    const what = performance.now() - this.lastFrame > PATIENCE && !this.isHeld()
      ? this.waitsFor() : '';
    if (waiting.textContent !== what) waiting.textContent = what;
    this.tellFigures();
  }

  isHeld() {
    return this.tab === 'teach' && this.parts.teach.shownStamp !== null;
  }

  diagnosis() {
    const all = this.sections.diagnostics ?? {};
    return all[this.camera || 'segmentation'] ?? Object.values(all)[0];
  }

  condition() {
    if (this.lost) return ['error', this.lost];
    if (!this.node) return ['warn', 'No segment node is there.'];
    const {state} = this.sections;
    if (state?.quiet && state.label !== 'configuring') {
      return ['warn', `${this.node} has not been heard for some seconds.`];
    }
    if (state?.label === 'configuring') return ['', 'The model is being loaded …'];
    if (state?.label && state.label !== 'active') {
      const fault = this.diagnosis();
      return fault?.level === 'error' ? ['error', fault.message]
        : ['', `The node is ${state.label}: the buttons under Status bring it up.`];
    }
    const diagnosis = this.diagnosis();
    return diagnosis ? [diagnosis.level, diagnosis.message] : ['', 'Waiting for diagnostics.'];
  }

  waitsFor() {
    if (this.lost) return this.lost;
    if (!this.node) return 'Waiting for a segment node: ros2 launch csa_ros segment.launch.py';
    const {state, cameras} = this.sections;
    if (state?.label === 'configuring') return 'Waiting for the model to be loaded.';
    if (state?.label && state.label !== 'active') {
      return `The node is ${state.label}: the buttons under Status bring it up.`;
    }
    const camera = cameras?.find(({name}) => name === this.camera);
    return `Waiting for pictures on ${camera?.image ?? 'the topic of the camera'}.`;
  }

  tellFigures() {
    const {times} = this;
    const span = times.length > 1 ? (times.at(-1) - times[0]) / 1000 : 0;
    const isLive = performance.now() - this.lastFrame < PATIENCE;
    const parts = [];
    if (this.isHeld()) parts.push('held');
    else if (span && isLive) parts.push(`${((times.length - 1) / span).toFixed(1)} frames/s`);
    const values = this.diagnosis()?.values ?? {};
    const latency = values['latency p50, p95 (ms)'];
    if (latency && !latency.startsWith('none')) parts.push(`${latency.split(',')[0]} ms`);
    const dropped = Number(values['frames dropped for newer ones']);
    if (dropped) parts.push(`${dropped} dropped by the node`);
    if (this.skipped) parts.push(`${this.skipped} skipped here`);
    const text = parts.join(' · ');
    if (byId('figures').textContent !== text) byId('figures').textContent = text;
  }
}

new Page();
