// Usage: node oss_copy.js DIRECTORY PREFIX
// Copies what begins with PREFIX from the bucket of oss_server.py into a directory, with Alibaba
// Cloud's own client: a second opinion on what we and the server of the tests think OSS is.
const fs = require("fs");
const path = require("path");
const OSS = require("ali-oss");

const setting = (name) => process.env[`LITESTREAM_TEST_OSS_${name}`];

async function main() {
  const [directory, prefix] = process.argv.slice(2);
  const client = new OSS({
    accessKeyId: setting("ACCESS_KEY"),
    accessKeySecret: setting("SECRET_KEY"),
    bucket: setting("BUCKET"),
    endpoint: setting("ENDPOINT"),
    region: "oss-cn-hangzhou",
    authorizationV4: true,
    secure: false,
    sldEnable: true,  // The bucket in the path.
  });
  let token;
  do {
    const page = await client.listV2({ prefix, "continuation-token": token });
    for (const object of page.objects || []) {
      const target = path.join(directory, object.name);
      fs.mkdirSync(path.dirname(target), { recursive: true });
      const { content } = await client.get(object.name);
      fs.writeFileSync(target, content);
      if (content.length !== object.size) throw new Error(`${object.name}: another size`);
    }
    token = page.nextContinuationToken;
  } while (token);
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
