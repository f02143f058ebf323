// An S3 server with one bucket, in a temporary folder. Prints its settings.
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import S3rver from "s3rver"

const server = new S3rver({
  address: "127.0.0.1",
  port: 0,
  silent: true,
  directory: mkdtempSync(join(process.env.AIO_FOLDER ?? tmpdir(), "aio-s3-")),
  configureBuckets: [{ name: "files" }]
})
const { port } = await server.run()
console.log(
  JSON.stringify({
    S3_ENDPOINT: `http://127.0.0.1:${port}`,
    S3_BUCKET: "files",
    S3_ACCESS_KEY_ID: "S3RVER",
    S3_SECRET_ACCESS_KEY: "S3RVER"
  })
)
