import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import * as NpmScripts from "../../../src/services/supervision/NpmScripts.js"

const files = (text: string | undefined) =>
  FileSystem.layerNoop({
    ...(text === undefined ? {} : { readFileString: () => Effect.succeed(text) })
  })

const scripts = JSON.stringify({ scripts: { lint: "x", "lint:js": "x", "lint:css:a": "x", dev: "x" } })

const expand = (words: ReadonlyArray<string>, text: string | undefined = scripts) =>
  NpmScripts.expand(words).pipe(
    Effect.either,
    Effect.map(Either.getOrElse(({ message }) => message)),
    Effect.provide(files(text))
  )

describe("NpmScripts", () => {
  it.effect.each<[word: string, expanded: ReadonlyArray<string>]>([
    ["npm:dev", ["dev=npm run dev"]],
    ["npm:lint:js --fix", ["lint-js=npm run lint:js --fix"]],
    ["npm:lint:*", ["js=npm run lint:js", "css-a=npm run lint:css:a"]],
    ["pnpm:lint:* -- -q", ["js=pnpm run lint:js -- -q", "css-a=pnpm run lint:css:a -- -q"]],
    ["web=yarn:dev", ["web=yarn run dev"]],
    ["node:dev", ["dev=node --run dev"]],
    // No short form: as it is.
    ["npm run dev", ["npm run dev"]],
    ["a=echo npm:dev", ["a=echo npm:dev"]],
    ["echo npm:dev", ["echo npm:dev"]]
  ])("%s", ([word, expanded]) =>
    Effect.map(expand([word]), (found) => assert.deepStrictEqual(found, expanded))
  )

  it.effect("fails in one line for a script that is not there, and a package.json that is none", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* expand(["npm:nope"]),
        "'npm:nope': package.json has no script nope; it has lint, lint:js, lint:css:a, dev"
      )
      assert.strictEqual(
        yield* expand(["npm:x:*"], "{}"),
        "'npm:x:*': package.json has no script x:*; it has none"
      )
      assert.strictEqual(yield* expand(["npm:x"], "{"), "'npm:x': package.json is not JSON")
      const missing = NpmScripts.expand(["npm:x"]).pipe(Effect.flip, Effect.provide(FileSystem.layerNoop({})))
      assert.strictEqual((yield* missing).message, "'npm:x': there is no package.json here that can be read")
    })
  )
})
