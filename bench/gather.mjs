// `Gather.gather` beside asyncio.gather; `aio gather` beside aiohttp, aria2c and curl, from a local nginx.
import { spawn } from "node:child_process"
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { aio, command, compare, pythonWith, root, selfTimed, which } from "./harness.mjs"

const python = pythonWith("asyncio")
const peer = (name) => join(root, "bench/peers", name)

await compare(
  "Gather.gather: 100,000 ready effects, 64 at once",
  [
    { name: "Gather.gather", run: selfTimed([process.execPath, peer("gather.mjs"), "100000", "64"]) },
    { name: "asyncio.gather", run: python && selfTimed([python, peer("asyncio_gather.py"), "100000"]) },
    {
      name: "asyncio.gather, semaphore 64",
      run: python && selfTimed([python, peer("asyncio_gather.py"), "100000", "64"])
    },
    {
      name: "Effect.all, concurrency 64",
      run: selfTimed([process.execPath, peer("gather.mjs"), "100000", "64", "effect"])
    }
  ],
  { targets: { "asyncio.gather": 0.2 } }
)

const nginx = which("nginx") ?? which("/usr/sbin/nginx")
if (nginx === undefined)
  console.log(
    "\ndownloads: nginx is missing, so there is nothing to download from (apt-get install nginx-light)"
  )
else {
  const work = mkdtempSync(join(tmpdir(), "aio-bench-"))
  const site = join(work, "site")
  const out = join(work, "out")
  mkdirSync(site)
  mkdirSync(join(site, "small"))
  const count = 2000
  for (let i = 0; i < count; i++) writeFileSync(join(site, "small", `f${i}`), Buffer.alloc(4096, i))
  closeSync(openSync(join(site, "large"), "w"))
  truncateSync(join(site, "large"), 2 ** 30)
  closeSync(openSync(join(site, "limited"), "w"))
  truncateSync(join(site, "limited"), 64 * 2 ** 20)
  const port = 20_000 + (process.pid % 20_000)
  const base = `http://127.0.0.1:${port}`
  writeFileSync(
    join(work, "nginx.conf"),
    `daemon off; worker_processes 1; pid ${work}/pid; error_log ${work}/error.log; user root;
     events { worker_connections 1024; }
     http { access_log off; sendfile on; keepalive_requests 100000;
       client_body_temp_path ${work}/a; proxy_temp_path ${work}/b; fastcgi_temp_path ${work}/c; uwsgi_temp_path ${work}/d; scgi_temp_path ${work}/e;
       server { listen 127.0.0.1:${port}; root ${site}; location = /limited { limit_rate 8m; } location /any/ { try_files /small/f0 =404; } } }`
  )
  const server = spawn(nginx, ["-p", work, "-c", join(work, "nginx.conf")], { stdio: "inherit" })
  try {
    for (let i = 0; i < 100; i++) {
      if (
        await fetch(`${base}/small/f0`).then(
          (response) => response.ok,
          () => false
        )
      )
        break
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const urls = Array.from({ length: count }, (_, i) => `${base}/small/f${i}`)
    writeFileSync(join(work, "urls"), `${urls.join("\n")}\n`)
    writeFileSync(
      join(work, "curl"),
      urls.map((url, i) => `url = "${url}"\noutput = "${out}/f${i}"\n`).join("")
    )
    const fresh = () => {
      rmSync(out, { recursive: true, force: true })
      mkdirSync(out)
    }
    const whole = (run) => () => {
      const result = run()
      const got = readdirSync(out).length
      if (got !== count) throw new Error(`${got} of ${count} files`)
      return result
    }
    const aiohttp = pythonWith("aiohttp")
    const aria2c = which("aria2c")
    const curl = which("curl")
    const input = readFileSync(join(work, "urls"))
    await compare(
      `aio gather: ${count} files of 4 KiB, 64 at once, whole process`,
      [
        {
          name: "aio gather",
          prepare: fresh,
          run: whole(
            command([process.execPath, aio, "gather", "-q", "-j", "64", "-a", join(work, "urls"), "-d", out])
          )
        },
        {
          name: "aiohttp",
          prepare: fresh,
          run: aiohttp && whole(command([aiohttp, peer("aiohttp_download.py"), out, "64"], { input }))
        },
        {
          name: "aria2c",
          prepare: fresh,
          run:
            aria2c &&
            whole(
              command([
                aria2c,
                "-q",
                "-j",
                "64",
                "-x",
                "16",
                "--auto-file-renaming=false",
                "-d",
                out,
                "-i",
                join(work, "urls")
              ])
            )
        },
        {
          name: "curl -Z",
          prepare: fresh,
          run: curl && whole(command([curl, "-s", "-Z", "--parallel-max", "64", "-K", join(work, "curl")]))
        }
      ],
      { targets: { aiohttp: 0.9, aria2c: 0.5 } }
    )
    await compare(
      "aio gather: one file of 1 GiB, whole process",
      [
        {
          name: "aio gather",
          prepare: fresh,
          run: command([process.execPath, aio, "gather", "-q", "-d", out, `${base}/large`])
        },
        {
          name: "curl",
          prepare: fresh,
          run: curl && command([curl, "-s", "-o", join(out, "large"), `${base}/large`])
        }
      ],
      { rounds: 5, targets: { curl: 1.35 } }
    )
    await compare(
      "aio gather --split 8: one file of 64 MiB, 8 MiB a second for each connection, whole process",
      [
        {
          name: "aio gather --split 8",
          prepare: fresh,
          run: command([process.execPath, aio, "gather", "-q", "--split", "8", "-d", out, `${base}/limited`])
        },
        {
          name: "aria2c -x 8 -s 8",
          prepare: fresh,
          run:
            aria2c && command([aria2c, "-q", "-x", "8", "-s", "8", "-k", "1M", "-d", out, `${base}/limited`])
        },
        {
          name: "curl",
          prepare: fresh,
          run: curl && command([curl, "-s", "-o", join(out, "limited"), `${base}/limited`])
        }
      ],
      { rounds: 3, targets: { "aria2c -x 8 -s 8": 1 } }
    )
    // For the memory: nothing is kept of a URL but its name, so many cost less than 40 MiB more than few.
    const list = (n) => {
      const path = join(work, `list${n}`)
      writeFileSync(path, Array.from({ length: n }, (_, i) => `${base}/any/f${i}\n`).join(""))
      return command([process.execPath, aio, "gather", "-q", "-j", "64", "-a", path, "-d", out])
    }
    await compare(
      "aio gather: memory for 100,000 URLs beside 1,000",
      [
        { name: "100,000 URLs", prepare: fresh, run: list(100_000) },
        { name: "1,000 URLs", prepare: fresh, run: list(1000) }
      ],
      { rounds: 1 }
    )
  } finally {
    server.kill("SIGTERM")
    await new Promise((resolve) => server.once("exit", resolve))
    rmSync(work, { recursive: true, force: true })
  }
}
