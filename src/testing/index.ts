/** For those who test with us. */
export * as VirtualClock from "../services/time/VirtualClock.js"
export * as Interleave from "./Interleave.js"
