import { isMeant } from "./meant.js"
import { judging, type Questions, typesAt, type Unjudged } from "./questions.js"
import { type Fn, functionOf, isIdle, isPlain, makers, nameOf, returnsOf } from "./syntax.js"
import type { Ast } from "./typescript.js"

// Effects that a callback returns although its result is ignored, and effects that are the result of another effect and
// never run. The Effect diagnostics check neither.

export interface Dropped {
  readonly node: Ast.Node
  readonly rule: "effectInVoidCallback" | "effectInEffect"
}

interface Found {
  /** Functions that are values, with their results and the function that receives them. */
  readonly functions: Array<{ fn: Fn; returned: ReadonlyArray<Ast.Expression>; callee: string }>
  /** Other arguments that may be functions. */
  readonly references: Array<{ node: Ast.Expression; callee: string }>
  /** Calls that make an effect of the result of a function. */
  readonly makers: Array<{
    call: Ast.CallExpression
    above: ReadonlyArray<Ast.Node>
    /** The results of the function that may be effects, if the function is written in the call. */
    returned: ReadonlyArray<Ast.Expression> | undefined
  }>
}

/** Functions that run the effect of a callback and drop its result. */
const passing = /^(tap\w*|ensuring|onExit|onError|onInterrupt|zipLeft|addFinalizer)$/

/** Functions whose callback may have the type `Function`. */
const schedulers = /^(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick|requestAnimationFrame)$/

const collect = (ast: typeof Ast, source: Ast.SourceFile): Found => {
  const found: Found = { functions: [], references: [], makers: [] }
  const isFunction = (node: Ast.Node): node is Fn =>
    ast.isArrowFunction(node) || ast.isFunctionExpression(node)
  const returnedBy = (fn: Fn): ReadonlyArray<Ast.Expression> =>
    ast.isFunctionExpression(fn) && fn.asteriskToken !== undefined
      ? []
      : returnsOf(ast, fn)
          .map(({ given }) => given)
          .filter((given) => !isIdle(ast, given) && !isPlain(ast, given))
  const mayBeFunction = (node: Ast.Node) => ast.isIdentifier(node) || ast.isPropertyAccessExpression(node)
  const above: Array<Ast.Node> = []
  const visit = (node: Ast.Node): void => {
    const parent = above.at(-1)
    if (isFunction(node)) {
      const called = parent !== undefined && (ast.isCallExpression(parent) || ast.isNewExpression(parent))
      const callee = called ? nameOf(ast, parent.expression) : ""
      const returned = returnedBy(node)
      if (returned.length > 0) found.functions.push({ fn: node, returned, callee })
    }
    if (ast.isCallExpression(node) || ast.isNewExpression(node)) {
      const callee = nameOf(ast, node.expression)
      for (const argument of node.arguments ?? []) {
        if (mayBeFunction(argument)) found.references.push({ node: argument, callee })
      }
      if (ast.isCallExpression(node) && makers.has(callee)) {
        const fn = functionOf(ast, node)
        const returned = fn && returnedBy(fn)
        found.makers.push({ call: node, above: [...above], returned })
      }
    }
    above.push(node)
    node.forEachChild(visit)
    above.pop()
  }
  source.forEachChild(visit)
  return found
}

/** Finds such effects in one file. */
export const find = async (
  asked: Questions,
  source: Ast.SourceFile,
  unjudged: Unjudged
): Promise<ReadonlyArray<Dropped>> => {
  const { ast, checker, isEffect, isNested, isNothing, kindOf, membersOf, resultsOf } = asked
  const { functions, makers, references } = collect(ast, source)
  const dropped: Array<Dropped> = []

  /** Whether the function here is called for its side effects only. */
  const isExpectedVoid = async (node: Ast.Expression, callee: string): Promise<boolean> => {
    const expected = await checker.getContextualType(node)
    if (expected === undefined) return false
    const results = await resultsOf(expected)
    if (results.length > 0) {
      for (const result of results) if (!(await isNothing(result))) return false
      return true
    }
    if (!schedulers.test(callee)) return false
    for (const member of await membersOf(expected)) {
      if ((await member.getSymbol())?.name === "Function") return true
    }
    return false
  }

  // All at once: each question to TypeScript waits for an answer, and there are thousands.
  const lookAtFunctions = async () => {
    const each = functions.flatMap(({ returned }) => returned)
    const types = await typesAt(checker, each, unjudged)
    let next = 0
    await Promise.all(
      functions.map(async ({ callee, fn, returned }) => {
        const from = next
        next += returned.length
        const rules = new Set<Dropped["rule"]>() // each is reported once per function
        for (const [i, node] of returned.entries()) {
          const type = types[from + i]
          if (type === undefined) continue
          await judging(node, unjudged, async () => {
            if (!(await isEffect(type))) return
            if (!rules.has("effectInVoidCallback") && (await isExpectedVoid(fn, callee))) {
              rules.add("effectInVoidCallback")
              dropped.push({ node, rule: "effectInVoidCallback" })
            }
            if (passing.test(callee) && !rules.has("effectInEffect") && (await isNested(type))) {
              rules.add("effectInEffect")
              dropped.push({ node, rule: "effectInEffect" })
            }
          })
        }
      })
    )
  }
  const lookAtReferences = async () => {
    const nodes = references.map(({ node }) => node)
    const types = await typesAt(checker, nodes, unjudged)
    await Promise.all(
      references.map(({ callee, node }, i) =>
        judging(node, unjudged, async () => {
          const type = types[i]
          if (type === undefined || !type.isObjectType() || (await kindOf(type)) !== undefined) return
          const results = await resultsOf(type)
          if (results.length === 0) return
          for (const result of results) if (!(await isEffect(result))) return
          if (await isExpectedVoid(node, callee)) dropped.push({ node, rule: "effectInVoidCallback" })
        })
      )
    )
  }
  const lookAtMakers = async () => {
    const nodes = makers.map(({ call }) => call)
    const types = await typesAt(checker, nodes, unjudged)
    await Promise.all(
      makers.map(({ above, call, returned }, i) =>
        judging(call, unjudged, async () => {
          if (!(await isNested(types[i]))) return
          if (returned !== undefined) {
            const given = await typesAt(checker, returned, unjudged)
            const effects = await Promise.all(given.map((type) => type !== undefined && isEffect(type)))
            if (!effects.includes(true)) return
          }
          if (await isMeant(asked, call, above)) return
          dropped.push({ node: call, rule: "effectInEffect" })
        })
      )
    )
  }
  await Promise.all([lookAtFunctions(), lookAtReferences(), lookAtMakers()])
  return dropped
}
