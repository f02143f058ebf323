import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"

// HTTP servers of a test, on loopback.

const servers: Array<ReturnType<typeof createServer>> = []

/** Starts a server and returns its URL. */
export const serve = async (answer: RequestListener): Promise<string> => {
  const server = createServer(answer)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Ends all servers and their connections: for `afterAll`. */
export const close = (): void => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
}
