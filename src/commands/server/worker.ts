import * as Server from "../../programs/Server.js"
import * as Blocking from "../../services/http/Blocking.js"

// The worker threads of `aio server --model threads`, bundled with the demo app.

Blocking.serveHere(Server.app)
