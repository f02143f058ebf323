import { judging, type Questions, type Unjudged } from "./questions.js"
import { type Fn, functionOf, isIdle, isPlain, makers, nameOf, pathTo, returnsOf } from "./syntax.js"
import { type Ast, callSignature } from "./typescript.js"

// Whether an effect that is the result of another effect is meant to be: it goes to code that may run it, or the types
// around it ask for it.

/** Functions that receive the effect inside and may run it. */
const taking =
  /^(flatten|flatMap|andThen|map|mapBoth|match\w*|unwrap\w*|as|tap|bind|bindTo|let|all|zip\w*|acquire\w*|effect|scoped)$/

/** Whether the effect inside this one goes to a function that may run it, or the types around it ask for it. */
export const isMeant = async (
  asked: Questions,
  call: Ast.Expression,
  above: ReadonlyArray<Ast.Node>
): Promise<boolean> => isTaken(asked.ast, call, above) || (await isExpected(asked, call, above))

/** Whether the context expects an effect of an effect, or a function that returns one, or the code asserts its type. */
const isExpected = async (
  { ast, checker, isNested, resultsOf }: Questions,
  call: Ast.Expression,
  above: ReadonlyArray<Ast.Node>
): Promise<boolean> => {
  let whole = call
  for (let i = above.length - 1; i >= 0; i--) {
    const outer = above[i]!
    if (ast.isAssertionExpression(outer)) return true
    if (ast.isParenthesizedExpression(outer) || ast.isSatisfiesExpression(outer)) whole = outer
    else if (ast.isPropertyAccessExpression(outer) && outer.name.text === "pipe") continue
    else if (!ast.isCallExpression(outer)) break
    else if (await isNested(await checker.getTypeAtLocation(outer))) whole = outer
    else {
      // The contextual type of an argument may come from the argument itself: the declared type counts.
      const at = outer.arguments.indexOf(whole)
      const callee = at < 0 ? undefined : await checker.getTypeAtLocation(outer.expression)
      for (const signature of callee ? await checker.getSignaturesOfType(callee, callSignature) : []) {
        const parameter = (await signature.getParameters())[at]
        if (parameter !== undefined && (await isNested(await checker.getTypeOfSymbol(parameter)))) return true
      }
      return false
    }
  }
  const expected = await checker.getContextualType(whole)
  if (expected === undefined) return false
  if (await isNested(expected)) return true
  for (const result of await resultsOf(expected)) if (await isNested(result)) return true
  return false
}

/** Whether the effect that is returned at this place is meant to be the result of the effect around it. */
export const isMeantToReturn = async (
  asked: Questions,
  source: Ast.SourceFile,
  start: number
): Promise<boolean> => {
  const { ast } = asked
  const path = pathTo(source, start)
  const last = path.findLastIndex((node) => ast.isReturnStatement(node) && node.getStart(source) === start)
  const returned = path[last] as Ast.ReturnStatement | undefined
  if (returned?.expression === undefined) return false
  if (isIdle(ast, returned.expression)) return true
  const above = path.slice(
    0,
    path.slice(0, last).findLastIndex((node) => ast.isFunctionExpression(node))
  )
  const call = above.pop()
  if (call === undefined || !ast.isCallExpression(call)) return false
  let meant = false
  const nowhere: Unjudged = () => undefined
  await judging(call, nowhere, async () => {
    meant = await isMeant(asked, call, above)
  })
  return meant
}

/** How the effect at this place, or its name, is made. */
export interface Origin {
  /** The only effect that it may succeed with is `Effect.void`. */
  readonly idle: boolean
  /** Places where the effect inside it may be reported. */
  readonly places: ReadonlyArray<number>
}

export const originOf = (ast: typeof Ast, source: Ast.SourceFile, start: number): Origin => {
  const path = pathTo(source, start)
  const places: Array<number> = []
  const outermost = path.find((node) => node.getStart(source) === start)
  let node: Ast.Node | undefined = outermost
  if (node !== undefined && (ast.isVariableDeclaration(node) || ast.isPropertyAssignment(node)))
    node = node.initializer
  while (node !== undefined) {
    places.push(node.getStart(source))
    if (ast.isParenthesizedExpression(node)) node = node.expression
    else if (!ast.isCallExpression(node)) break
    else if (ast.isPropertyAccessExpression(node.expression) && node.expression.name.text === "pipe")
      node = node.expression.expression
    else {
      const fn: Fn | undefined = functionOf(ast, node)
      if (fn === undefined || fn !== node.arguments[0]) {
        node = fn === undefined || makers.has(nameOf(ast, node.expression)) ? undefined : node.arguments[0]
        continue
      }
      const returns = returnsOf(ast, fn)
      for (const one of returns) places.push(one.node.getStart(source))
      const idle = returns.some(({ given }) => isIdle(ast, given))
      return { idle: idle && returns.every(({ given }) => isIdle(ast, given) || isPlain(ast, given)), places }
    }
  }
  return { idle: false, places }
}

/** Whether the effect inside goes to a function that may run it, or gets a name where the outer one runs. */
const isTaken = (ast: typeof Ast, call: Ast.Node, above: ReadonlyArray<Ast.Node>): boolean => {
  let inner: Ast.Node = call
  for (let i = above.length - 1; i >= 0; i--) {
    const outer = above[i]!
    if (ast.isParenthesizedExpression(outer)) {
      inner = outer
      continue
    }
    if (ast.isYieldExpression(outer)) return !ast.isExpressionStatement(above[i - 1] ?? outer)
    if (ast.isPropertyAccessExpression(outer) && outer.expression === inner) {
      const piped = above[i - 1]
      if (piped === undefined || !ast.isCallExpression(piped)) return false
      return piped.arguments.some((step) => taking.test(stepName(ast, step)))
    }
    if (!ast.isCallExpression(outer)) return false
    if (nameOf(ast, outer.expression) === "pipe")
      return outer.arguments.some((step) => taking.test(stepName(ast, step)))
    return taking.test(nameOf(ast, outer.expression))
  }
  return false
}

const stepName = (ast: typeof Ast, step: Ast.Node): string =>
  nameOf(ast, ast.isCallExpression(step) ? step.expression : step)
