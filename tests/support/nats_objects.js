// Objects of a bucket through the official client of NATS (npm package "nats").
//
// node nats_objects.js HOST USER PASSWORD BUCKET list             what it says of each, as JSON
// node nats_objects.js HOST USER PASSWORD BUCKET copy DIRECTORY   all of them, by name
// node nats_objects.js HOST USER PASSWORD BUCKET put NAME FILE TIMESTAMP
// node nats_objects.js HOST USER PASSWORD BUCKET delete NAME
"use strict";
const fs = require("fs");
const path = require("path");
const { connect, headers } = require("nats");

async function read(object) {
  const pieces = [];
  for await (const piece of object.data) pieces.push(Buffer.from(piece));
  const failure = await object.error;  // The digest is compared at the end.
  if (failure) throw failure;
  return Buffer.concat(pieces);
}

async function main([host, user, pass, bucket, what, ...rest]) {
  const connection = await connect({ servers: host, user, pass });
  const store = await connection.jetstream().views.os(bucket, { bindOnly: true });
  if (what === "list") {
    console.log(JSON.stringify(await store.list(), ["name", "size", "chunks", "nuid", "digest"]));
  } else if (what === "copy") {
    for (const info of await store.list()) {
      const file = path.join(rest[0], info.name);
      const content = await read(await store.get(info.name));
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, content);
      if (content.length !== info.size) throw new Error(`${info.name}: another size`);
    }
  } else if (what === "put") {
    const [name, file, timestamp] = rest;
    const more = headers();
    more.set("Litestream-Timestamp", timestamp);
    await store.putBlob({ name, headers: more }, new Uint8Array(fs.readFileSync(file)));
  } else if (what === "delete") {
    await store.delete(rest[0]);
  } else {
    throw new Error(`${what}?`);
  }
  await connection.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
