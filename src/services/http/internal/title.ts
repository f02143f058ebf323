/** A request in few words: `GET /wait`. */
export const title = (request: { readonly method: string; readonly path: string }) =>
  `${request.method} ${request.path}`
