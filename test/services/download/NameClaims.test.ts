import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as NameClaims from "../../../src/services/download/NameClaims.js"

describe("NameClaims", () => {
  it.effect.each([1, 70, 78, 79, 80, 300])(
    "tells URLs apart by what is sent: %i characters of path",
    (length) =>
      Effect.gen(function* () {
        const claims = NameClaims.make()
        const at = (path: string, name = "f") => ({ url: new URL(`https://a.example/${path}`), name })
        const path = "x".repeat(length)
        expect(yield* claims.check(at(path))).toBe("f")
        for (const same of [path, `${path}#`, `${path}#part`, `${path}#${"y".repeat(200)}`]) {
          expect(yield* claims.check(at(same))).toBe("f")
        }
        expect(yield* claims.begin(at(`${path}#part`))).toBe(true)
        expect(yield* claims.begin(at(path))).toBe(false)
        for (const other of [`${path}x`, `${path.slice(1)}y`, `${path}?`]) {
          const taken = yield* Effect.flip(claims.check(at(other)))
          expect([taken.taken, taken.same]).toEqual(["f", false])
        }
      })
  )

  it.effect("refuses names that differ in case only, and an equal URL with another checksum", () =>
    Effect.gen(function* () {
      const claims = NameClaims.make()
      const url = new URL("https://a.example/")
      yield* claims.check({ url, name: "File" })
      expect(claims.claim("fILE")).toBe(false)
      expect(yield* Effect.flip(claims.check({ url, name: "file" }))).toMatchObject({
        same: false,
        taken: "File"
      })
      const checksum = { algorithm: "sha256", hex: "0".repeat(64) } as const
      expect(yield* Effect.flip(claims.check({ url, name: "File", checksum }))).toMatchObject({ same: true })
    })
  )
})
