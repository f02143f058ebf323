// undici's parts by path: its index loads fetch, WebSocket, caches and mocks, which downloads do not need.
declare module "undici/lib/dispatcher/agent.js" {
  import { Agent } from "undici"
  export default Agent
}
declare module "undici/lib/dispatcher/pool.js" {
  import { Pool } from "undici"
  export default Pool
}
declare module "undici/lib/dispatcher/proxy-agent.js" {
  import { ProxyAgent } from "undici"
  export default ProxyAgent
}

declare module "undici/lib/core/connect.js" {
  import { buildConnector } from "undici"
  export default buildConnector
}

declare module "undici/lib/api/api-connect.js" {
  import type { Dispatcher } from "undici"

  const connect: Dispatcher["connect"]
  export default connect
}
