import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as FileName from "../../../src/services/download/FileName.js"

const fromUrl = (url: string) => FileName.fromUrl(new URL(url))

describe("SafeName", () => {
  describe("fromNetwork", () => {
    it.each([
      ["a.txt", "a.txt"],
      ["../../etc/passwd", "passwd"],
      ["..\\..\\windows\\win.ini", "win.ini"],
      ["/etc/passwd", "passwd"],
      ["C:\\autoexec.bat", "autoexec.bat"],
      [".bashrc", "bashrc"],
      ["...hidden", "hidden"],
      [" . . x", "x"],
      ["name. . ", "name"],
      ["a\0b", "ab"],
      ["a\r\nb\x1b[31m", "ab[31m"],
      ["a\x7f\x9bb", "ab"],
      ["photo\u202egpj.exe", "photogpj.exe"],
      ['a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"],
      ["CON", "_CON"],
      ["nul.txt", "_nul.txt"],
      ["COM1.tar.gz", "_COM1.tar.gz"],
      ["console.log", "console.log"],
      ["cafe\u0301", "caf\u00e9"],
      ["-rf", "-rf"]
    ])("makes %j into %j", (name, safe) => {
      expect(FileName.fromNetwork(name)).toBe(safe)
    })

    it.each(["", ".", "..", "...", "/", "a/", "a\\", "\0", " ", "a/..", ". ."])(
      "has no name for %j",
      (name) => {
        expect(FileName.fromNetwork(name)).toBeUndefined()
      }
    )

    it("shortens to 200 bytes, keeps a short extension, splits no character", () => {
      expect(FileName.fromNetwork(`${"a".repeat(300)}.tar`)).toBe(`${"a".repeat(196)}.tar`)
      const emoji = FileName.fromNetwork(`${"😀".repeat(100)}.png`)!
      expect(emoji).toBe(`${"😀".repeat(49)}.png`)
      expect(Buffer.byteLength(FileName.fromNetwork(`x.${"é".repeat(200)}`)!)).toBe(200)
      expect(FileName.fromNetwork(`${"a".repeat(300)}.tar.gz`)).toBe(`${"a".repeat(193)}.tar.gz`)
      // What is cut off takes along what had kept the rest from being a reserved name, or from ending in a blank.
      expect(FileName.fromNetwork(`con${" ".repeat(300)}x.txt`)).toBe("_con.txt")
      expect(FileName.fromNetwork(`name${" ".repeat(200)}.x`)).toBe("name.x")
    })

    // Before, a name took time with its square: these did not end in minutes.
    it.each([
      ["plain", "a".repeat(1_000_000)],
      ["with an extension", `${"a".repeat(1_000_000)}.tar.gz`],
      ["four bytes a character", "😀".repeat(500_000)],
      ["blanks inside", `a${" ".repeat(1_000_000)}b`],
      ["dots inside", `a${".".repeat(1_000_000)}b`],
      ["combining marks out of order", `a${"\u0301\u0327".repeat(500_000)}`],
      ["control bytes", "\x1b".repeat(1_000_000)],
      ["slashes", "/a".repeat(500_000)]
    ])("has a name of a megabyte at once: %s", (_, name) => {
      const safe = FileName.fromNetwork(name) ?? ""
      expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(200)
      expect(FileName.fromNetwork(safe) ?? "").toBe(safe)
    })

    it.prop(
      "gives one plain path segment or nothing, and the same again for what it gave",
      [
        FastCheck.oneof(
          FastCheck.string({ unit: "binary", maxLength: 300 }),
          FastCheck.array(
            FastCheck.constantFrom(
              ".",
              "/",
              "\\",
              "\0",
              " ",
              "a",
              "😀",
              "\n",
              "\u202e",
              "nul",
              ":",
              "é",
              "\ud800",
              "e\u200d\u0301",
              "con",
              ".tar.gz"
            ),
            { maxLength: 400 }
          ).map((parts) => parts.join("")),
          FastCheck.tuple(
            FastCheck.constantFrom("", "nul", "con.", "x"),
            FastCheck.constantFrom(" ", ".", "é", "e\u0301", "😀", "."),
            FastCheck.integer({ min: 60, max: 1500 }),
            FastCheck.constantFrom("", ".txt", ".tar.xz", " ", "y", ".é")
          ).map(([start, unit, count, end]) => start + unit.repeat(count) + end)
        )
      ],
      ([name]) => {
        const safe = FileName.fromNetwork(name)
        if (safe === undefined) return
        expect(safe).not.toMatch(/[/\\\p{Cc}\p{Cf}]/u)
        expect(safe).not.toMatch(/^[.\s]|[.\s]$/)
        expect(safe).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i)
        expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(200)
        expect(safe.length).toBeGreaterThan(0)
        expect(FileName.fromNetwork(safe)).toBe(safe)
      }
    )
  })

  describe("fromUrl", () => {
    it.each([
      ["https://a.example/x/file.iso?token=1#top", "file.iso"],
      ["https://a.example", "index.html"],
      ["https://a.example/dir/", "index.html"],
      ["https://a.example/a%20b.txt", "a b.txt"],
      ["https://a.example/..%2f..%2fetc%2fpasswd", "passwd"],
      ["https://a.example/%2e%2e%5cx", "x"],
      ["https://a.example/%00%0d%0a", "index.html"],
      ["https://a.example/%ff%fe", "%ff%fe"],
      ["https://a.example/.env", "env"],
      ["https://a.example/%E2%82%AC.txt", "€.txt"]
    ])("takes from %s the name %j", (url, name) => {
      expect(fromUrl(url)).toBe(name)
    })
  })

  describe("mirrored", () => {
    it.each([
      ["https://a.example/", "a.example/index.html"],
      ["http://a.example:8080/b//c/d.txt?q=1#f", "a.example+8080/b/c/d.txt"],
      ["http://[::1]:80/f", "--1/f"],
      ["http://a.example/%E2%82%AC/a%20b", "a.example/€/a b"],
      ["http://a.example/a%2Fb/..%2F..%2Fetc", "a.example/a%2Fb/%2E%2E%2F..%2Fetc"],
      ["http://a.example/%2e%2e/.git/x", "a.example/%2Egit/x"],
      ["http://a.example/a%5Cb/%00/con/a:b", "a.example/a%5Cb/%00/_con/a%3Ab"],
      ["http://a.example/%FF/...", "a.example/%FF/%2E%2E%2E"],
      [`http://a.example/${"x/".repeat(1000)}y`, `a.example/${"x/".repeat(64)}y`]
    ])("%s", (url, path) => {
      const name = FileName.mirrored(new URL(url))
      expect(name).toBe(path)
      expect(FileName.isSafePath(name)).toBe(true)
    })
  })

  describe("fromContentDisposition", () => {
    it.each([
      ["attachment; filename=plain.txt", "plain.txt"],
      ['attachment; filename="with blank.txt"', "with blank.txt"],
      ['attachment; filename="a\\"b.txt"', "a_b.txt"],
      ["attachment; filename*=UTF-8''%e2%82%ac.txt; filename=euro.txt", "€.txt"],
      ["attachment; filename=euro.txt; filename*=utf-8'de'%e2%82%ac.txt", "€.txt"],
      ["attachment; filename*=UTF-8''%ff; filename=plain.txt", "plain.txt"],
      ['attachment; filename="../../.ssh/authorized_keys"', "authorized_keys"],
      ["attachment; filename*=UTF-8''..%2f..%2fetc%2fpasswd", "passwd"],
      ['inline; filename="C:\\\\x\\\\y.exe"', "y.exe"],
      ['FileName = "x.txt"', "x.txt"],
      ["attachment; filename*=UTF-8''it's.txt", "it's.txt"],
      ["attachment; filename*=ISO-8859-1''x%e9; filename=plain.txt", "plain.txt"],
      ["attachment; filename*=UTF-8''..; filename=plain.txt", "plain.txt"],
      ['attachment; note="a; filename=wrong.txt"; filename=right.txt', "right.txt"],
      ['attachment; filename="not closed', "_not"]
    ])("takes from %j the name %j", (header, name) => {
      expect(FileName.fromContentDisposition(header)).toBe(name)
    })

    it.each([
      "",
      "attachment",
      'attachment; filename=""',
      'attachment; filename=".."',
      "attachment; notfilename=x"
    ])("has no name in %j", (header) => {
      expect(FileName.fromContentDisposition(header)).toBeUndefined()
    })

    it.each([
      ["languages without an end", "a;filename*=UTF-8'".repeat(100_000), undefined],
      ["quotes without an end", 'a;filename="'.repeat(100_001), "a;filename="],
      ["blanks", `a;${" ".repeat(1_000_000)}filename=x`, "x"],
      ["semicolons", `${"; ".repeat(500_000)}filename=x`, "x"],
      ["backslashes", `filename="${"\\".repeat(1_000_000)}x`, "x"]
    ])("reads a header of a megabyte at once: %s", (_, header, name) => {
      expect(FileName.fromContentDisposition(header)).toBe(name)
    })
  })
})
