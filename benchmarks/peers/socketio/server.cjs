// Socket.IO with its Redis adapter: every socket is in one room. A second process of the same file tells the room.
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

async function main() {
  const publisher = createClient({ url: process.env.REDIS_URL });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const web = createServer();
  const io = new Server(web, { transports: ["websocket"], adapter: createAdapter(publisher, subscriber) });
  io.on("connection", (socket) => {
    socket.join("room");
    socket.emit("joined");
  });
  if (process.argv[2] === "publish") {
    // A line is {frames: [...]}: each is told to the room, and one line answers when all are on their way.
    for await (const line of createInterface({ input: process.stdin })) {
      for (const frame of JSON.parse(line).frames) io.to("room").emit("frame", frame);
      await publisher.ping();
      console.log("done");
    }
    process.exit(0);
  }
  web.listen(Number(process.env.PORT), "127.0.0.1");
}

main();
