/* The web page of the pixel canvas: it shows the shared canvas, live, and paints on it by mouse, touch and keys.
 *
 * Messages change `Board.pixels` at once, in their order; a redraw shows what is there by then. So however many changes
 * come, a redraw costs what its dirty rectangles cost, and only the newest colour of a pixel is ever drawn.
 */
"use strict";

const SIDE = 32, CELLS = SIDE * SIDE, SHEET = 512;
const PLACE_MANY = 0x02, SUBSCRIBE = 0x03, PING = 0x04;
const HELLO = 0x80, SNAPSHOT = 0x81, DELTA = 0x82, THROTTLED = 0x83, PONG = 0x84, NOTICE = 0x85;
const PAINT_COUNT = 16, WAITING_MAX = 2000, SHOWN_MS = 1500, NOTICE_MS = 4000;
const SCALE_MAX = 64, JITTER_MS = 150, SILENCE_MS = 8000, BACKOFF_MS = 400, BACKOFF_MS_MAX = 15000, TAP_PIXELS = 8;
const REASONS = ["", "faster than the rate limit", "the server is overloaded", "outside the canvas"];
const NAMES = {
  "#0b0d12": "black", "#e8e6e3": "white", "#9aa0a6": "grey", "#4a4f57": "dark grey", "#d55e00": "vermilion",
  "#e69f00": "orange", "#f0e442": "yellow", "#009e73": "green", "#56b4e9": "sky blue", "#0072b2": "blue",
  "#cc79a7": "pink", "#8c2d04": "brown", "#1b7837": "dark green", "#542788": "purple", "#f4a582": "peach",
  "#35978f": "teal",
};
const ROLES = { viewer: "You are looking on. With the token you can paint:", stranger: "This canvas wants its token:" };
const element = id => document.getElementById(id);
const show = (id, text) => { if (element(id).textContent !== text) element(id).textContent = text; };
const distance = ([x0, y0], [x1, y1]) => Math.hypot(x1 - x0, y1 - y0);
const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

/* The canvas as palette indices, in rows of whole tiles, and as sheets of pixels that the browser can draw. */
class Board {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.across = Math.ceil(width / SIDE);
    this.tiles = this.across * Math.ceil(height / SIDE);
    this.stride = this.across * SIDE;
    this.pixels = new Uint8Array(this.tiles * CELLS);
    this.columns = Math.ceil(width / SHEET);
    this.sheets = [];
    for (let y = 0; y < height; y += SHEET)
      for (let x = 0; x < width; x += SHEET)
        this.sheets.push({ x, y, width: Math.min(SHEET, width - x), height: Math.min(SHEET, height - y) });
    this.sheets.forEach(sheet => this.touch(sheet.x, sheet.y, sheet.width, sheet.height));
  }

  at(x, y) { return this.pixels[y * this.stride + x]; }

  /* Mark a rectangle within one sheet as changed. */
  touch(x, y, width, height) {
    const sheet = this.sheets[Math.floor(y / SHEET) * this.columns + Math.floor(x / SHEET)];
    const left = x - sheet.x, right = Math.min(left + width, sheet.width);
    const top = y - sheet.y, bottom = Math.min(top + height, sheet.height);
    const [left0, top0, right0, bottom0] = sheet.dirty ?? [left, top, right, bottom];
    sheet.dirty = [Math.min(left0, left), Math.min(top0, top), Math.max(right0, right), Math.max(bottom0, bottom)];
  }

  fill(x, y, width, height, colors) {
    for (let row = 0; row < height; row++)
      this.pixels.set(colors.subarray(row * width, (row + 1) * width), (y + row) * this.stride + x);
    for (const sheet of this.sheets) {
      const left = Math.max(x, sheet.x), right = Math.min(x + width, sheet.x + sheet.width);
      const top = Math.max(y, sheet.y), bottom = Math.min(y + height, sheet.y + sheet.height);
      if (left < right && top < bottom) this.touch(left, top, right - left, bottom - top);
    }
  }

  /* Take `count` tile blocks. Returns how many pixels they change. */
  apply(count, body) {
    const { pixels, stride, across } = this;
    let at = 0, changed = 0;
    for (; count > 0; count--) {
      const tile = body[at] | body[at + 1] << 8, kind = body[at + 2];
      if (!(tile < this.tiles)) throw new Error(`a block for tile ${tile}, of which there is none`);
      const left = tile % across * SIDE, top = Math.floor(tile / across) * SIDE, base = top * stride + left;
      at += 3;
      if (kind === 0) {
        const end = at + 1 + 3 * body[at];
        changed += body[at++];
        for (; at < end; at += 3) {
          const offset = body[at] | body[at + 1] << 8;
          pixels[base + (offset >> 5) * stride + (offset & 31)] = body[at + 2];
        }
      } else if (kind === 1) {
        const start = at + CELLS / 8;
        let color = start;
        for (let byte = 0; byte < CELLS / 8; byte++) {
          const row = base + (byte >> 2) * stride + ((byte & 3) << 3);
          for (let bits = body[at + byte]; bits; bits &= bits - 1)
            pixels[row + 31 - Math.clz32(bits & -bits)] = body[color++];
        }
        changed += color - start;
        at = color;
      } else {
        for (let row = 0; row < SIDE; row++, at += SIDE) pixels.set(body.subarray(at, at + SIDE), base + row * stride);
        changed += CELLS;
      }
      this.touch(left, top, SIDE, SIDE);
    }
    return changed;
  }

  /* Bring what the browser draws of a sheet up to date. */
  develop(sheet, colors, scratch) {
    if (!sheet.surface) {
      sheet.surface = Object.assign(document.createElement("canvas"), { width: sheet.width, height: sheet.height });
      sheet.pen = sheet.surface.getContext("2d", { alpha: false });
    }
    if (!sheet.dirty) return;
    const [left, top, right, bottom] = sheet.dirty, { words, image } = scratch;
    for (let y = top; y < bottom; y++) {
      let from = (sheet.y + y) * this.stride + sheet.x + left;
      for (let to = y * SHEET + left, end = y * SHEET + right; to < end;) words[to++] = colors[this.pixels[from++]];
    }
    sheet.pen.putImageData(image, 0, 0, left, top, right - left, bottom - top);
    sheet.dirty = null;
  }
}

/* The server's token bucket, in the same terms: when it will be full again. It is a little smaller than the server's:
   what the network delays and then delivers at once must find tokens too. Who only looks on has one that holds none. */
class Bucket {
  constructor(rate, burst) {
    this.tokenMs = 1000 / rate;
    this.burst = burst - Math.floor(Math.min(burst / 4, rate * JITTER_MS / 1000));
    this.fullAt = 0;
  }

  get isNone() { return this.burst === 0; }
  tokens(now) { return this.burst - Math.max(0, this.fullAt - now) / this.tokenMs; }
  take(count, now) { this.fullAt = Math.max(this.fullAt, now) + count * this.tokenMs; }
  empty(now) { this.fullAt = Math.max(this.fullAt, now + this.burst * this.tokenMs); }
}

/* Where the board is on the screen: `scale` device pixels a pixel, its corner at `x`, `y` device pixels. */
class View {
  constructor(surface) {
    this.surface = surface;
    this.pen = surface.getContext("2d", { alpha: false });
    const image = this.pen.createImageData(SHEET, SHEET);
    this.scratch = { image, words: new Uint32Array(image.data.buffer) };
    this.scale = this.x = this.y = 0;
    this.isFitted = true;
  }

  resize() {
    const box = this.surface.getBoundingClientRect(), density = this.density = window.devicePixelRatio || 1;
    this.surface.width = Math.max(1, Math.round(box.width * density));
    this.surface.height = Math.max(1, Math.round(box.height * density));
    if (board && this.isFitted) this.fit(); else this.keepInside();
  }

  get fitScale() {
    const scale = Math.min(this.surface.width / board.width, this.surface.height / board.height);
    return scale >= 4 ? Math.floor(scale) : scale;  // All pixels are as large as each other where that costs little.
  }

  fit() {
    if (!board) return;
    this.scale = this.fitScale;
    this.keepInside();
    this.isFitted = true;
  }

  keepInside() {
    if (!board) return;
    const { width, height } = this.surface;
    const keep = (at, size, room) => size <= room ? (room - size) / 2 : clamp(at, room * .7 - size, room * .3);
    this.x = Math.round(keep(this.x, board.width * this.scale, width));
    this.y = Math.round(keep(this.y, board.height * this.scale, height));
    wake();
  }

  zoom(factor, x = this.surface.width / 2, y = this.surface.height / 2) {
    if (!board) return;
    const fit = this.fitScale, most = Math.max(fit, SCALE_MAX * this.density);
    const scale = clamp(this.scale * factor, Math.min(fit, 1), most);
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.isFitted = Math.abs(scale - fit) < 1e-9;
    this.keepInside();
  }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.isFitted = false;
    this.keepInside();
  }

  /* A point of the page in device pixels of the surface. */
  place(event) {
    const box = this.surface.getBoundingClientRect();
    return [(event.clientX - box.left) * this.density, (event.clientY - box.top) * this.density];
  }

  pixelAt([x, y]) { return [Math.floor((x - this.x) / this.scale), Math.floor((y - this.y) / this.scale)]; }

  /* Keep a pixel in sight, as the cursor moves. */
  reveal(x, y) {
    const { width, height } = this.surface, left = this.x + x * this.scale, top = this.y + y * this.scale;
    const beyond = (at, room) => Math.min(0, room - at - this.scale) + Math.max(0, -at);
    this.pan(beyond(left, width), beyond(top, height));
  }

  draw() {
    const { pen, scale } = this, { width, height } = this.surface;
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, width, height);
    pen.imageSmoothingEnabled = scale < 1;
    for (const sheet of board.sheets) {
      const left = Math.round(this.x + sheet.x * scale), right = Math.round(this.x + (sheet.x + sheet.width) * scale);
      const top = Math.round(this.y + sheet.y * scale), bottom = Math.round(this.y + (sheet.y + sheet.height) * scale);
      if (right <= 0 || bottom <= 0 || left >= width || top >= height) continue;
      board.develop(sheet, colors, this.scratch);
      pen.drawImage(sheet.surface, left, top, right - left, bottom - top);
    }
    for (const { x, y, color } of hand.pending.values()) {
      pen.fillStyle = palette[color];
      pen.fillRect(this.x + x * scale, this.y + y * scale, Math.ceil(scale), Math.ceil(scale));
    }
    if (hand.cursor) this.ring(...hand.cursor);
  }

  /* Two rings, so that the cursor is seen on any colour. */
  ring(x, y) {
    const { pen, scale } = this, line = Math.max(1, Math.round(this.density)), side = Math.max(scale, 6 * line);
    const left = this.x + (x + .5) * scale - side / 2, top = this.y + (y + .5) * scale - side / 2;
    pen.lineWidth = line;
    for (const [color, out] of [["#000", 1.5], ["#fff", .5]]) {
      pen.strokeStyle = color;
      pen.strokeRect(left - out * line, top - out * line, side + 2 * out * line, side + 2 * out * line);
    }
  }
}

/* The connection: it comes back by itself. What is sent while there is none is lost. */
class Wire {
  constructor() {
    this.attempt = this.heard = this.asked = 0;
    setInterval(() => this.probe(), SILENCE_MS / 2);
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.hurry(); });
  }

  get isOpen() { return this.socket?.readyState === WebSocket.OPEN && bucket !== null; }
  send(bytes) { if (this.isOpen) this.socket.send(bytes); }

  connect() {
    clearTimeout(this.timer);
    this.timer = 0;
    const address = new URL(withToken("canvas"), location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.socket = new WebSocket(address, "pixelcanvas.v1");
    this.asked = 0;
    socket.binaryType = "arraybuffer";
    // Inflating is asynchronous: a chain keeps the messages in their order.
    let chain = Promise.resolve();
    socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      chain = chain.then(() => socket === this.socket && receive(new DataView(data)));
      chain = chain.catch(error => notify(String(error)));
    };
    socket.onclose = ({ reason }) => { if (socket === this.socket) this.lost(reason); };
  }

  /* Back-off with jitter, so that a thousand pages do not come back at once. */
  lost(reason) {
    // No answer to that either: then what is said here is all there is to say.
    if (bucket === null) isLetIn(ownToken()).then(is => is || setRole("stranger"), () => {});
    this.socket = bucket = null;
    const wait = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** this.attempt++) * (.5 + Math.random());
    setState("lost", `${reason || "no connection"}; again in ${Math.max(1, Math.round(wait / 1000))} s`);
    this.timer = setTimeout(() => { setState("connecting", "connecting"); this.connect(); }, wait);
  }

  hurry() { if (this.timer) this.connect(); }

  /* A network that went away says nothing: ask, and take silence after a question for the end. Silence alone is none:
     in a page out of sight the browser lets a minute pass between two questions. */
  probe() {
    if (!this.isOpen) return;
    const now = performance.now();
    if (this.asked > this.heard) {
      if (now - this.asked < SILENCE_MS) return;
      const { socket } = this;
      this.lost("the server is silent");
      socket.close();
      return;
    }
    this.asked = now;
    const ping = new Uint8Array(12);
    ping[0] = PING;
    this.send(ping);
  }
}

/* What a person does: strokes wait here for tokens, and are shown until the server's answer is. */
class Hand {
  constructor() {
    this.color = 4;
    this.waiting = [];
    this.pending = new Map();
    this.pointers = new Map();
    this.cursor = this.last = null;
    this.deed = "";
    this.isMoving = this.isSpaceDown = false;
  }

  paint(x, y) {
    if (!board || x < 0 || y < 0 || x >= board.width || y >= board.height) return;
    if (!wire.isOpen) return notify("not connected: nothing is painted");
    if (bucket.isNone) return notify("you are looking on: to paint, enter the token");
    if (this.waiting.length >= WAITING_MAX) return notify("you are ahead of the rate limit: wait for the ring");
    const stroke = { x, y, color: this.color, until: Infinity };
    this.waiting.push(stroke);
    this.pending.set(y * board.width + x, stroke);
    wake();
  }

  /* All pixels from the last one to this one, so that a quick drag leaves no gaps. */
  stroke(x, y) {
    const [x0, y0] = this.last ?? [x, y], steps = Math.max(Math.abs(x - x0), Math.abs(y - y0));
    for (let step = this.last ? 1 : 0; step <= steps; step++)
      this.paint(x0 + Math.round((x - x0) * step / (steps || 1)), y0 + Math.round((y - y0) * step / (steps || 1)));
    this.last = [x, y];
  }

  /* Send as many strokes as there are tokens, and forget those whose answer is seen. */
  flush(now) {
    const count = wire.isOpen ? Math.min(this.waiting.length, Math.floor(bucket.tokens(now) + 1e-6)) : 0;
    if (count > 0) {
      const bytes = new Uint8Array(4 + 5 * count);
      bytes.set([PLACE_MANY, 0, count & 255, count >> 8]);
      this.waiting.splice(0, count).forEach((stroke, index) => {
        const { x, y, color } = stroke;
        bytes.set([x & 255, x >> 8, y & 255, y >> 8, color], 4 + 5 * index);
        stroke.until = now + SHOWN_MS;
      });
      bucket.take(count, now);
      wire.send(bytes);
    }
    for (const [key, { x, y, color, until }] of this.pending)
      if (until < now || (until < Infinity && board.at(x, y) === color)) this.pending.delete(key);
  }

  forget() {
    this.waiting = [];
    this.pending.clear();
  }

  choose(color) {
    this.color = color;
    for (const button of document.querySelectorAll(".paint"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.color) === color));
  }

  pick(x, y) {
    if (board && x >= 0 && y >= 0 && x < board.width && y < board.height) this.choose(board.at(x, y));
  }

  setMoving(isMoving) {
    this.isMoving = isMoving;
    element("move").setAttribute("aria-pressed", String(isMoving));
    document.body.classList.toggle("moving", isMoving);
  }

  // Mouse, pen and fingers.

  down(event) {
    const place = view.place(event);
    this.pointers.set(event.pointerId, place);
    view.surface.setPointerCapture(event.pointerId);
    element("all").hidden = true;
    element("more").setAttribute("aria-expanded", "false");
    this.last = null;
    if (this.pointers.size > 1) this.deed = "pinch";
    else if (event.button > 0 || this.isMoving || this.isSpaceDown || bucket?.isNone) this.deed = "pan";
    else if (event.altKey) this.pick(...view.pixelAt(place));
    else if (event.pointerType === "touch") [this.deed, this.start] = ["tap", place];  // A second finger may follow.
    else this.startStroke(place);
  }

  startStroke(place) {
    this.deed = "stroke";
    this.stroke(...view.pixelAt(place));
  }

  move(event) {
    const place = view.place(event), old = this.pointers.get(event.pointerId);
    if (event.pointerType !== "touch") this.point(...view.pixelAt(place));
    if (!old) return;
    if (this.deed === "pinch") this.pinch(event.pointerId, place);
    else if (this.deed === "pan") view.pan(place[0] - old[0], place[1] - old[1]);
    else if (this.deed === "tap" && distance(place, this.start) > TAP_PIXELS * view.density)
      this.startStroke(this.start);
    if (this.deed === "stroke") this.stroke(...view.pixelAt(place));
    this.pointers.set(event.pointerId, place);
  }

  up(event) {
    if (event.type === "pointerup" && this.deed === "tap") this.stroke(...view.pixelAt(view.place(event)));
    this.pointers.delete(event.pointerId);
    this.deed = this.pointers.size ? "rest" : "";  // The finger that stays after a pinch paints nothing.
  }

  /* Two fingers: what is between them stays between them. */
  pinch(id, place) {
    const old = this.pointers.get(id), other = [...this.pointers].find(([key]) => key !== id)[1];
    const spread = Math.max(1, distance(place, other)) / Math.max(1, distance(old, other));
    view.pan((place[0] - old[0]) / 2, (place[1] - old[1]) / 2);
    view.zoom(spread, (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
  }

  point(x, y) {
    const isInside = board && x >= 0 && y >= 0 && x < board.width && y < board.height;
    this.cursor = isInside ? [x, y] : null;
    show("where", isInside ? `x ${x}  y ${y}` : "");
    wake();
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    view.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? .01 : .0015)), ...view.place(event));
  }

  // Keys.

  key(event) {
    if (event.ctrlKey || event.metaKey || !board || element("help").open) return;
    if (event.target === element("token")) return;  // Letters typed there are the token's, not shortcuts.
    this.isSpaceDown ||= event.key === " ";
    const isOnCanvas = document.activeElement === view.surface || document.activeElement === document.body;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const deed = {
      "+": () => view.zoom(1.5), "=": () => view.zoom(1.5), "-": () => view.zoom(1 / 1.5), "0": () => view.fit(),
      "[": () => this.choose((this.color + 255) % 256), "]": () => this.choose((this.color + 1) % 256),
      "m": () => this.setMoving(!this.isMoving), "c": () => toggleAll(), "h": () => element("help").showModal(),
      "i": () => this.cursor && this.pick(...this.cursor), "Escape": () => toggleAll(true),
      "Enter": () => isOnCanvas && this.cursor && this.paint(...this.cursor),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (arrow && isOnCanvas && event.shiftKey) view.pan(-arrow[0] * 64, -arrow[1] * 64);
    else if (arrow && isOnCanvas) this.step(arrow);
    else if (deed) return deed();
    if ((arrow || event.key === " ") && isOnCanvas) event.preventDefault();
  }

  step([x, y]) {
    const [x0, y0] = this.cursor ?? [board.width >> 1, board.height >> 1];
    this.point(clamp(x0 + x, 0, board.width - 1), clamp(y0 + y, 0, board.height - 1));
    view.reveal(...this.cursor);
  }
}

const view = new View(element("canvas")), hand = new Hand(), wire = new Wire();
const counted = { changes: 0, redraws: 0, since: performance.now() };
let board = null, bucket = null, palette = [], colors = new Uint32Array(256), isAwake = false, noticeTimer = 0;

function ownToken() { return new URLSearchParams(location.search).get("token"); }

function withToken(path) {
  const token = ownToken();
  return token === null ? path : `${path}?token=${encodeURIComponent(token)}`;
}

/* Whether the server would let a connection with this token in: of a WebSocket that it refuses, a page learns no more. */
async function isLetIn(token) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  return (await fetch("canvas.png", { method: "HEAD", headers })).status !== 401;
}

async function enter(token) {
  if (!await isLetIn(token)) return notify("that is not the token of this canvas");
  history.replaceState(null, "", `?token=${encodeURIComponent(token)}`);
  linkPicture();
  const old = wire.socket;
  wire.connect();
  old?.close();
}

function linkPicture() { element("picture").href = withToken("canvas.png"); }

/* "painter", or who sees a way to become one. */
function setRole(role) {
  document.documentElement.dataset.role = role;
  element("entry").hidden = role === "painter";
  show("role", ROLES[role] ?? "");
}

function setState(name, text) {
  document.documentElement.dataset.state = name;
  show("state", text);
}

function notify(text) {
  show("notice", text);
  element("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { element("notice").hidden = true; }, NOTICE_MS);
}

async function bodyOf(view, start) {
  const bytes = new Uint8Array(view.buffer, start);
  if (view.getUint8(1) !== 1) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function receive(message) {
  const word = at => message.getUint16(at, true), long = at => message.getUint32(at, true);
  switch (message.getUint8(0)) {
    case HELLO: return welcome(word(2), word(4), word(9), word(11));
    case SNAPSHOT:
      board.fill(word(6), word(8), word(10), word(12), await bodyOf(message, 14));
      setState("open", bucket?.isNone ? "live, looking on" : "live");
      wire.attempt = 0;
      show("tick", `tick ${long(2)}`);
      return wake();
    case DELTA:
      counted.changes += board.apply(word(2), await bodyOf(message, 8));
      show("tick", `tick ${long(4)}`);
      return wake();
    case THROTTLED:
      if (message.getUint8(1) === 1) bucket.empty(performance.now());
      return notify(`${long(4)} of your pixels were dropped: ${REASONS[message.getUint8(1)]}`);
    case PONG: return;
    case NOTICE: return notify(new TextDecoder().decode(new Uint8Array(message.buffer, 2)));
  }
}

function welcome(width, height, rate, burst) {
  bucket = new Bucket(rate, burst);
  setRole(bucket.isNone ? "viewer" : "painter");
  element("tokens").setAttribute("aria-valuemax", String(bucket.burst));
  hand.forget();
  if (!board || board.width !== width || board.height !== height) {
    board = new Board(width, height);
    view.fit();
  }
  show("size", `${width} \u00d7 ${height}`);
  const subscribe = new Uint8Array(12);
  subscribe[0] = SUBSCRIBE;
  wire.send(subscribe);
  wake();
}

function wake() {
  if (isAwake || !board || !palette.length) return;
  isAwake = true;
  requestAnimationFrame(redraw);
}

function redraw(now) {
  isAwake = false;
  hand.flush(now);
  view.draw();
  counted.redraws++;
  const tokens = bucket ? bucket.tokens(now) : 0;
  showTokens(tokens);
  if (hand.pending.size || (bucket && tokens < bucket.burst)) wake();
}

/* The ring is what the bucket holds, the number in it how many pixels that is, or how many wait. */
function showTokens(tokens) {
  const ring = element("tokens"), whole = Math.max(0, Math.floor(tokens + 1e-6)), waiting = hand.waiting.length;
  ring.style.setProperty("--full", bucket?.burst ? clamp(tokens / bucket.burst, 0, 1).toFixed(3) : "0");
  ring.classList.toggle("low", waiting > 0 || !bucket);
  ring.setAttribute("aria-valuenow", String(whole));
  ring.title = waiting ? `${waiting} pixels wait their turn` : `${whole} pixels can be painted now`;
  show("count", waiting ? `\u2212${waiting}` : String(whole));
}

function tellRates() {
  const now = performance.now(), seconds = (now - counted.since) / 1000;
  const rate = Math.round(counted.changes / seconds).toLocaleString("en");
  show("rate", `${rate} changes/s \u00b7 ${Math.round(counted.redraws / seconds)} fps`);
  Object.assign(counted, { changes: 0, redraws: 0, since: now });
}

function toggleAll(isHidden = !element("all").hidden) {
  element("all").hidden = isHidden;
  element("more").setAttribute("aria-expanded", String(!isHidden));
}

function addPaint(parent, color) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "paint" });
  button.style.background = palette[color];
  button.dataset.color = color;
  button.title = NAMES[palette[color]] ?? palette[color];
  button.setAttribute("aria-label", button.title);
  button.addEventListener("click", () => hand.choose(color));
  parent.append(button);
}

async function loadPalette() {
  const answer = await fetch(withToken("palette.json"));
  if (!answer.ok) throw new Error(`no palette: ${answer.status} ${await answer.text()}`);
  palette = await answer.json();
  // ImageData holds red, green, blue, alpha in memory, whichever way this machine writes its words.
  const bytes = palette.flatMap(text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16)).concat(255));
  colors = new Uint32Array(new Uint8Array(bytes).buffer);
  palette.forEach((_, color) => addPaint(element("all"), color));
  palette.slice(0, PAINT_COUNT).forEach((_, color) => addPaint(element("paints"), color));
  hand.choose(hand.color);
  wake();
}

function listen() {
  const { surface } = view, on = (id, deed) => element(id).addEventListener("click", deed);
  surface.addEventListener("pointerdown", event => hand.down(event));
  surface.addEventListener("pointermove", event => hand.move(event));
  for (const end of ["pointerup", "pointercancel"]) surface.addEventListener(end, event => hand.up(event));
  surface.addEventListener("pointerleave", () => hand.point(-1, -1));
  surface.addEventListener("wheel", event => hand.wheel(event), { passive: false });
  surface.addEventListener("contextmenu", event => event.preventDefault());
  addEventListener("keydown", event => hand.key(event));
  addEventListener("keyup", event => { if (event.key === " ") hand.isSpaceDown = false; });
  on("nearer", () => view.zoom(1.5));
  on("farther", () => view.zoom(1 / 1.5));
  on("fit", () => view.fit());
  on("more", () => toggleAll());
  on("move", () => hand.setMoving(!hand.isMoving));
  on("ask", () => element("help").showModal());
  linkPicture();
  element("entry").addEventListener("submit", event => {
    event.preventDefault();
    enter(element("token").value).catch(error => notify(String(error)));
  });
  new ResizeObserver(() => view.resize()).observe(surface);
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", wake);
  setInterval(tellRates, 1000);
}

listen();
view.resize();
wire.connect();
loadPalette().catch(error => notify(String(error)));
