/** Measures how long the thread has been busy since it last looked for requests. */
export class BusyThread {
  private since: number | undefined
  private isAsked = false

  // Runs after the events of a turn of the loop. While it is awaited the loop does not block, so this measures work only;
  // it ends with the requests.
  private readonly turned = () => {
    this.since = this.isAsked ? performance.now() : undefined
    if (this.isAsked) setImmediate(this.turned)
    this.isAsked = false
  }

  /** Milliseconds that a request which is read now may have waited; 0 for the first after a pause. */
  waited(): number {
    this.isAsked = true
    if (this.since !== undefined) return performance.now() - this.since
    this.since = performance.now()
    setImmediate(this.turned)
    return 0
  }
}
