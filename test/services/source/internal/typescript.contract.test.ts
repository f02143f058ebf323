import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import type * as AsyncApi from "typescript/unstable/async"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as TypeScript from "../../../../src/services/source/internal/typescript.js"

// What src/services/source/internal/typescript.ts assumes of TypeScript 7 beyond its public interface, an assumption a
// test. A test that fails says which part of `aio await` breaks.

const source = `
declare const nothing: void
declare const missing: undefined
declare const either: Promise<number> | string
declare const promise: Promise<number>
declare const again: Promise<number>
declare const call: { (): number; new (): string; readonly name: string }
nothing; missing; either; promise; again; call
`
const panics = `const one = (x: boolean): [string?, string?] => x ? [] : ["a"]
export const plain = 1
`

describe("TypeScript 7", { timeout: 90_000 }, () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "aio-test-")))
  const here = dirname(fileURLToPath(import.meta.url))
  let ast: typeof TypeScript.Ast
  let api: AsyncApi.API
  let project: AsyncApi.Project

  const open = async (name: string, files: ReadonlyArray<string>) => {
    const config = join(folder, name)
    writeFileSync(config, JSON.stringify({ compilerOptions: { strict: true, types: [] }, files }))
    return (await api.updateSnapshot({ openProjects: [config] })).getProject(config)!
  }
  const fileOf = async (name: string) => (await project.program.getSourceFile(join(folder, name)))!
  /** The expressions that stand as statements, in order. */
  const statements = async (name: string) =>
    (await fileOf(name)).statements.filter(ast.isExpressionStatement).map(({ expression }) => expression)
  const types = async () => {
    const [nothing, missing, either, promise, again, call] = await project.checker.getTypeAtLocation(
      await statements("a.ts")
    )
    return {
      nothing: nothing!,
      missing: missing!,
      either: either!,
      promise: promise!,
      again: again!,
      call: call!
    }
  }

  beforeAll(async () => {
    writeFileSync(join(folder, "a.ts"), source)
    writeFileSync(join(folder, "b.ts"), panics)
    const found = TypeScript.find([here])
    assert.isDefined(found, "no TypeScript 7 with `unstable/async` is found from this repository")
    const loaded = await TypeScript.load(found!)
    ast = loaded.ast
    api = new loaded.api.API({ cwd: folder })
    project = await open("tsconfig.json", ["a.ts", "b.ts"])
  })
  afterAll(async () => {
    await api.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it("is imported in one file", () => {
    const src = fileURLToPath(new URL("../../../../src", import.meta.url))
    const importing = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(
      (file) => file.endsWith(".ts") && /from "typescript/.test(readFileSync(join(src, file), "utf8"))
    )
    assert.deepStrictEqual(importing, ["services/source/internal/typescript.ts"])
  })

  it("has the predicates and kinds of nodes that the analysis asks for", () => {
    const internal = fileURLToPath(new URL("../../../../src/services/source/internal", import.meta.url))
    const used = readdirSync(internal).flatMap((file) => [
      ...readFileSync(join(internal, file), "utf8").matchAll(/\bast\.(?:(SyntaxKind)\.)?(\w+)/g)
    ])
    const missing = used
      .map(([, kind, name]) => (kind === undefined ? name! : `SyntaxKind.${name}`))
      .filter((name) =>
        name.startsWith("SyntaxKind.")
          ? !(name.slice("SyntaxKind.".length) in ast.SyntaxKind)
          : name !== "SyntaxKind" && typeof (ast as Record<string, unknown>)[name] !== "function"
      )
    assert.deepStrictEqual(missing, [], "`unstable/ast` no longer has these: the syntax tree cannot be read")
  })

  it("keeps its process at `client.process`, so that an interruption can kill it", () => {
    const child = TypeScript.processOf(api)
    assert.isNumber(child?.pid, "the process is elsewhere: an interrupted analysis would leave it running")
  })

  it("answers a list of nodes with the list of their types, in order", async () => {
    const nodes = await statements("a.ts")
    const answers = await project.checker.getTypeAtLocation(nodes)
    assert.strictEqual(answers.length, nodes.length)
    assert.strictEqual((await (await types()).promise.getSymbol())?.name, "Promise")
  })

  it("gives one type one number, by which answers are cached", async () => {
    const { again, either, promise } = await types()
    assert.isNumber(promise.id)
    assert.strictEqual(promise.id, again.id, "equal types have two ids: each is asked about again")
    assert.notStrictEqual(promise.id, either.id)
  })

  it("marks void by 16 and undefined by 4, by which a callback of no result is known", async () => {
    const { missing, nothing } = await types()
    assert.strictEqual(nothing.flags & TypeScript.typeFlags.void, 16)
    assert.strictEqual(missing.flags & TypeScript.typeFlags.undefined, 4)
    assert.strictEqual(nothing.flags & TypeScript.typeFlags.undefined, 0)
  })

  it("numbers call signatures 0, so that the results of a callback are those of its calls", async () => {
    const signatures = await project.checker.getSignaturesOfType(
      (await types()).call,
      TypeScript.callSignature
    )
    assert.strictEqual(signatures.length, 1)
    const result = await project.checker.getReturnTypeOfSignature(signatures[0]!)
    assert.strictEqual(await project.checker.typeToString(result!), "number")
  })

  it("gives the members of a union and the arguments of a reference", async () => {
    const { either, promise } = await types()
    assert.isTrue(either.isUnionType() && promise.isTypeReference())
    if (!either.isUnionType() || !promise.isTypeReference()) return
    assert.strictEqual((await either.getTypes())!.length, 2)
    assert.strictEqual((await project.checker.getTypeArguments(promise)).length, 1)
  })

  it("names a panic by an error that begins with `panic:`, and answers the next question", async () => {
    const nodes: Array<TypeScript.Ast.Node> = []
    const visit = (node: TypeScript.Ast.Node): void => {
      if (ast.isConditionalExpression(node)) nodes.push(node)
      node.forEachChild(visit)
    }
    visit(await fileOf("b.ts"))
    const basesOf = async (type: AsyncApi.Type): Promise<void> => {
      if (type.isUnionType()) for (const member of (await type.getTypes())!) await basesOf(member)
      else if (type.isTypeReference()) await (await type.getTarget()).getBaseTypes()
    }
    const [tuple] = await project.checker.getTypeAtLocation(nodes)
    const error = await basesOf(tuple!).then(
      () => undefined,
      (error: unknown) => error
    )
    assert.isTrue(
      TypeScript.isPanic(error),
      `TypeScript panics no longer here, or names a panic otherwise, which would end \`aio await\`: ${error}`
    )
    assert.strictEqual((await project.checker.getTypeAtLocation(await statements("a.ts"))).length, 6)
  })

  it("reports a project that names no files by 18002 or 18003, which is harmless if files are named", async () => {
    const empty = await open("empty.json", [])
    const [error] = await empty.program.getConfigFileParsingDiagnostics()
    assert.isTrue(TypeScript.noFiles.has(error!.code), `its code is ${error?.code}`)
  })
})
