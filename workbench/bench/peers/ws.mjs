// The peer Node `ws`: counts PLACE messages, greets, and answers a PING. It says its port, then ten times a second what
// it has counted and what that has cost, a JSON object a line. Its input's end is its own.
//
//   node ws.mjs HELLO_IN_BASE64
//
// `ws` is looked for in the current folder and in NODE_PATH.
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { WebSocketServer } = require("ws");

const PLACE_BYTES = 6;
const hello = Buffer.from(process.argv[2], "base64");
let count = 0;

function pong(ping) {
  const answer = Buffer.alloc(16);
  answer[0] = 0x84;
  ping.copy(answer, 4, 4, 12);
  return answer;
}

function tell(figures) {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}

function publish() {
  const cpu = process.cpuUsage();
  tell({ count, cpu_us: cpu.user + cpu.system, resident_bytes: process.memoryUsage.rss() });
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  perMessageDeflate: false,
  handleProtocols: (offered) => [...offered][0] ?? false,
});
server.on("listening", () => tell({ port: server.address().port }));
server.on("connection", (connection) => {
  connection.on("error", () => connection.terminate());
  connection.on("message", (message) => {
    if (message.length === PLACE_BYTES) count += 1;
    else connection.send(pong(message));
  });
  connection.send(hello);
});
setInterval(publish, 100);
process.stdin.on("end", () => {
  publish();
  process.exit(0);
});
process.stdin.resume();
