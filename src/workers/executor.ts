import { perform } from "../services/internal/jobs.js"

// The entry of an executor's threads: piscina calls the default export with each message.
export default perform
