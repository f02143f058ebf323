import type { Ast } from "./typescript.js"

// Facts about effects that the syntax tree shows without any types.

export type Fn = Ast.ArrowFunction | Ast.FunctionExpression

/** Functions that make an effect of the result of a function. */
export const makers = new Set(["sync", "try", "promise", "tryPromise"])

export const nameOf = (ast: typeof Ast, node: Ast.Node): string =>
  ast.isPropertyAccessExpression(node) ? node.name.text : ast.isIdentifier(node) ? node.text : ""

/** `Effect.void` loses nothing when it is dropped. */
export const isIdle = (ast: typeof Ast, node: Ast.Node): boolean =>
  ast.isPropertyAccessExpression(node) && node.name.text === "void"

/** Not an effect, whatever the types are. Most callbacks return one of these; TypeScript is not asked about them. */
export const isPlain = (ast: typeof Ast, node: Ast.Node): boolean => {
  switch (node.kind) {
    case ast.SyntaxKind.StringLiteral:
    case ast.SyntaxKind.NumericLiteral:
    case ast.SyntaxKind.BigIntLiteral:
    case ast.SyntaxKind.NoSubstitutionTemplateLiteral:
    case ast.SyntaxKind.TemplateExpression:
    case ast.SyntaxKind.RegularExpressionLiteral:
    case ast.SyntaxKind.TrueKeyword:
    case ast.SyntaxKind.FalseKeyword:
    case ast.SyntaxKind.NullKeyword:
    case ast.SyntaxKind.VoidExpression:
    case ast.SyntaxKind.TypeOfExpression:
    case ast.SyntaxKind.DeleteExpression:
    case ast.SyntaxKind.PrefixUnaryExpression:
    case ast.SyntaxKind.PostfixUnaryExpression:
    case ast.SyntaxKind.ArrowFunction:
    case ast.SyntaxKind.FunctionExpression:
    case ast.SyntaxKind.ObjectLiteralExpression:
    case ast.SyntaxKind.ClassExpression:
      return true
    case ast.SyntaxKind.ArrayLiteralExpression:
      return (node as Ast.ArrayLiteralExpression).elements.length === 0
    default:
      return ast.isIdentifier(node) && node.text === "undefined"
  }
}

/** A value that a function returns. */
interface Return {
  readonly given: Ast.Expression
  /** The statement, or the expression of an arrow function. */
  readonly node: Ast.Node
}

/** The values that the function returns, without parentheses. */
export const returnsOf = (ast: typeof Ast, fn: Fn): ReadonlyArray<Return> => {
  const returned: Array<Return> = []
  const add = (node: Ast.Node, given: Ast.Expression): void => {
    while (ast.isParenthesizedExpression(given)) given = given.expression
    returned.push({ given, node })
  }
  const hasOwnReturns = (node: Ast.Node) =>
    ast.isArrowFunction(node) ||
    ast.isFunctionExpression(node) ||
    ast.isFunctionDeclaration(node) ||
    ast.isClassDeclaration(node) ||
    ast.isClassExpression(node) ||
    ast.isMethodDeclaration(node) ||
    ast.isGetAccessorDeclaration(node) ||
    ast.isSetAccessorDeclaration(node)
  const visit = (node: Ast.Node): void => {
    if (ast.isReturnStatement(node) && node.expression !== undefined) add(node, node.expression)
    if (!hasOwnReturns(node)) node.forEachChild(visit)
  }
  if (fn.body === undefined) return returned
  if (ast.isBlock(fn.body)) fn.body.forEachChild(visit)
  else add(fn.body, fn.body as Ast.Expression)
  return returned
}

/** The function argument of a call that makes an effect, itself or as `try`. */
export const functionOf = (ast: typeof Ast, call: Ast.CallExpression): Fn | undefined => {
  const isFunction = (node: Ast.Node | undefined): node is Fn =>
    node !== undefined && (ast.isArrowFunction(node) || ast.isFunctionExpression(node))
  for (const given of call.arguments) {
    if (isFunction(given)) return given
    if (!ast.isObjectLiteralExpression(given)) continue
    for (const property of given.properties) {
      if (!ast.isPropertyAssignment(property) || nameOf(ast, property.name) !== "try") continue
      if (isFunction(property.initializer)) return property.initializer
    }
  }
  return undefined
}

/** The nodes around this place, the innermost last. */
export const pathTo = (source: Ast.SourceFile, start: number): ReadonlyArray<Ast.Node> => {
  const path: Array<Ast.Node> = []
  const visit = (node: Ast.Node): void => {
    if (start < node.pos || start >= node.end) return
    path.push(node)
    node.forEachChild(visit)
  }
  source.forEachChild(visit)
  return path
}
