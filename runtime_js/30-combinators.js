// parallel and pipeline (CONTRACT P): plain JavaScript, with nothing from the host but a message about each slot that
// failed. They are async functions: what they throw themselves is a rejection of the promise that they return.
(function (rt) {
  const { Array, Error, RangeError, TypeError } = globalThis

  const MAX_ITEMS = 4_096

  let parallels = 0
  let pipelines = 0
  let isTold = false

  const isThenable = (value) =>
    ((typeof value === 'object' && value !== null) || typeof value === 'function') && typeof value.then === 'function'

  // A copy, so that what the script does to its array afterwards changes nothing; by index, since the array may have
  // methods of its own.
  const copyItems = (list, name, what) => {
    if (!Array.isArray(list)) throw new TypeError(`${name}() needs an array of ${what}, not ${rt.typeName(list)}`)
    const { length } = list
    if (length > MAX_ITEMS) {
      throw new RangeError(`${name}() takes at most ${MAX_ITEMS} items, not ${length}: go through them in batches`)
    }
    const items = []
    for (let i = 0; i < length; i++) items.push(list[i])
    return items
  }

  const tellNotPortable = () => {
    if (isTold) return
    isTold = true
    const { line, column } = rt.placeIn(rt.rawTrace(new Error()))
    rt.warn('not-portable', 'parallel() was given promises in place of functions: they run here, elsewhere they are '
      + 'refused. Write parallel([() => agent(…)])', line, column)
  }

  const checkThunk = (thunk, index) => {
    if (typeof thunk === 'function') return thunk
    if (!isThenable(thunk)) {
      throw new TypeError(`parallel() needs functions: item ${index} is ${rt.typeName(thunk)}. Write () => agent(…)`)
    }
    tellNotPortable()
    return () => thunk
  }

  const checkStage = (stage, index) => {
    if (typeof stage === 'function') return stage
    throw new TypeError(`pipeline() needs functions as stages: stage ${index + 1} is ${rt.typeName(stage)}`)
  }

  // A slot that throws is null and reported; it never rejects.
  const guard = async (combinator, number, index, run) => {
    try {
      return await run()
    } catch (error) {
      rt.slotFailed(combinator, number, index, error)
      return null
    }
  }

  const collect = async (slots) => {
    const results = []
    for (let i = 0; i < slots.length; i++) results.push(await slots[i])
    return results
  }

  const goThrough = async (item, index, stages) => {
    const entry = isThenable(item) ? await item : item
    let value = entry
    for (let i = 0; i < stages.length; i++) {
      const stage = stages[i] // called without a `this`
      value = await stage(value, entry, index)
      if (value === null) return null
    }
    return value
  }

  const combinators = {
    async parallel(thunks) {
      const runs = copyItems(thunks, 'parallel', 'functions').map(checkThunk)
      const number = ++parallels
      return collect(runs.map((run, index) => guard('parallel', number, index, run)))
    },

    async pipeline(items, ...stages) {
      const entries = copyItems(items, 'pipeline', 'items')
      stages.forEach(checkStage)
      const number = ++pipelines
      const goOn = (item, index) => guard('pipeline', number, index, () => goThrough(item, index, stages))
      return collect(entries.map(goOn))
    },
  }

  rt.expose('parallel', combinators.parallel)
  rt.expose('pipeline', combinators.pipeline)
})
