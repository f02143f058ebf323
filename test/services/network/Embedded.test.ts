import { Effect, Layer } from "effect"
import * as Api from "../../../src/services/network/Api.js"
import * as Cache from "../../../src/services/network/Cache.js"
import * as Database from "../../../src/services/network/Database.js"
import * as OAuth from "../../../src/services/network/OAuth.js"
import * as Storage from "../../../src/services/network/Storage.js"
import * as contract from "../../network/contract.js"

contract.databaseContract("Database, SQLite", Database.layerEmbedded)
contract.cacheContract("Cache, in memory", Cache.layerEmbedded)
const issuer = (options: OAuth.IssuerOptions) =>
  Layer.scoped(OAuth.OAuth, Effect.flatMap(OAuth.makeIssuer(options), OAuth.make))
contract.oauthContract("OAuth, an issuer in this process", OAuth.layerEmbedded)
contract.verificationContract("OAuth, an issuer in this process, ES256", issuer({ algorithm: "ES256" }))
contract.verificationContract("OAuth, an issuer in this process, RS256", issuer({ algorithm: "RS256" }))
contract.storageContract("Storage, a folder", Storage.layerEmbedded)
contract.apiContract(
  "Api, in this process",
  Api.layerEmbedded((path) => (path === "/" ? {} : path === "/notes" ? [{ title: "é" }] : undefined))
)
