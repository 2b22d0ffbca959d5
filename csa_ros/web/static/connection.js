// The WebSocket to the robot: it comes back by itself, and answers what was asked.

const BAD_TOKEN = 4401;
const LONGEST_PAUSE = 5000;

export class Connection extends EventTarget {
  constructor() {
    super();
    this.open = false;
    this.waiting = new Map();
    this.number = 0;
    this.pause = 250;
    this.watched = null;
    // Not in the address that a browser sends, nor in the one that it shows from here on.
    const given = new URLSearchParams(location.hash.slice(1)).get('token');
    if (given) {
      sessionStorage.setItem('token', given);
      history.replaceState(null, '', location.pathname);
    }
    this.token = sessionStorage.getItem('token') ?? '';
    this.connect();
  }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/socket`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => this.socket.send(JSON.stringify({token: this.token}));
    this.socket.onmessage = ({data}) => this.take(data);
    this.socket.onclose = (event) => this.closed(event);
  }

  take(data) {
    if (data instanceof ArrayBuffer) {
      this.tell('frame', data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === 'hello') {
      this.open = true;
      this.pause = 250;
      if (this.watched) this.watch(this.watched);
    }
    if (message.type === 'answer') {
      this.waiting.get(message.id)?.(message);
      this.waiting.delete(message.id);
    } else {
      this.tell(message.type, message);
    }
  }

  closed({code, reason}) {
    this.open = false;
    for (const answer of this.waiting.values()) {
      answer({ok: false, message: 'the connection was lost before an answer came'});
    }
    this.waiting.clear();
    if (code === BAD_TOKEN) {
      this.tell('lost', {refused: reason});
      return;
    }
    this.tell('lost', {refused: ''});
    setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(this.pause * 1.6, LONGEST_PAUSE);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }

  send(message) {
    if (this.open) this.socket.send(JSON.stringify(message));
  }

  /** Say what is looked at: node, camera, kinds of pictures, and whether the frozen one. */
  watch(what) {
    this.watched = what;
    this.send({type: 'watch', ...what});
  }

  /** Return the answer to a request: {ok, message, ...}. */
  ask(request) {
    if (!this.open) return Promise.resolve({ok: false, message: 'there is no connection'});
    const id = ++this.number;
    this.send({type: 'act', id, ...request});
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }
}
