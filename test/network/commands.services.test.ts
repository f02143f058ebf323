import { spawnSync } from "node:child_process"
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import { settings } from "./settings.js"

// The way from embedded to real services in docs/network.md, as it is written there, with the addresses of this machine.

afterAll(Aio.removeFolders)

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8")
const [, block = ""] = /## From embedded to real\n+```sh\n([\s\S]*?)```/.exec(read("docs/network.md")) ?? []
const commands = block.trim().split("\n")

/** The command with the settings of the suite in place of those of the page. */
const here = (command: string) =>
  command.replace(/\b([A-Z][A-Z\d_]+)=\S+/g, (_, name: string) => {
    expect(Object.keys(settings)).toContain(name)
    return `${name}='${settings[name]}'`
  })

const folder = Aio.folder()
const aio = join(folder, "aio")
writeFileSync(aio, `#!/bin/sh\nexec '${process.execPath}' '${Aio.command}' "$@"\n`)
chmodSync(aio, 0o755)
const shell = (script: string) =>
  spawnSync("sh", ["-ec", script], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, PATH: `${folder}:${process.env["PATH"]}` }
  })

describe("from embedded to real services", () => {
  it("are five commands", () => {
    expect(commands.map((command) => command.split(" ").slice(0, 2).join(" ").replace(/=.*/, ""))).toEqual([
      "npm install",
      "export DATABASE_URL",
      "export S3_ENDPOINT",
      "aio network",
      "aio network"
    ])
  })

  it("the first installs packages that this one accepts as peers", () => {
    writeFileSync(join(folder, "package.json"), '{ "name": "shop", "version": "1.0.0" }')
    const { status, stderr, stdout } = shell(
      commands[0]!.replace("npm install", "npm install --dry-run --prefer-offline --no-audit --no-fund")
    )
    expect(status, stderr).toBe(0)
    const peers = JSON.parse(read("package.json")).peerDependencies as Record<string, string>
    const wanted = commands[0]!
      .split(" ")
      .slice(2)
      .map((one) => one.slice(0, one.lastIndexOf("@")))
    for (const name of wanted) {
      const [, major] = new RegExp(`^add ${name} (\\d+)\\.`, "m").exec(stdout) ?? []
      expect(`${name} ${major}`).toBe(`${name} ${/\d+/.exec(peers[name] ?? "")?.[0]}`)
    }
  })

  it("the others reach every service, and show its content", () => {
    const exported = commands.slice(1, 3).map(here).join("\n")
    const check = shell(`${exported}\n${commands[3]}`)
    expect(check.stderr).toBe("")
    expect(check.stdout).toMatch(/^database {2}reachable {2}\(PostgreSQL, .*\)$/m)
    expect(check.stdout).toMatch(/^cache {5}reachable {2}\(Redis, .*\)$/m)
    expect(check.stdout).toMatch(/^storage {3}reachable {2}\(S3, .*\)$/m)
    expect(check.status).toBe(0)
    const page = shell(`${exported}\n${commands[4]} --timeout 20s`)
    expect(page.stderr).toBe("")
    expect(page.stdout).toMatch(
      /^database .* 3 orders\ncache .* 41 visits\n[\s\S]*^storage .* 2 files, 50 KiB$/m
    )
    expect(page.status).toBe(0)
  })
})
