// What Node's readers make of a body: JSON by the engine itself, forms by busboy and by Node's own `formData`.
//
// A line in is the kind of a body, its content type and its bytes, the last two in base64. A line out is a
// list in JSON: the meaning of the body to each reader, or why that reader refuses it.

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const busboy = createRequire(process.argv[2])('busboy')

// Members whose strings are a part of the prompt.
const PROMPTS = new Set(['messages', 'input', 'prompt', 'instructions', 'system', 'tools', 'functions', 'suffix'])
// What holds an image, a file or a sound: its bytes are not read as text.
const HELD = new Set(['image_url', 'source', 'file', 'file_data', 'input_audio'])
// What holds parts, or is one.
const CONTENTS = new Set(['content', 'output'])
// A role and a type are in the frame of what they stand in, up to this many bytes.
const FRAME = new Set(['role', 'type'])
const LONGEST_FRAME = 20
const HOSTED = ['web_', 'file_search', 'code_', 'image_generation', 'mcp', 'browser_search']

// Only what stands in the content of a message is an image to anyone.
function weigh(value, seen, isContent) {
  if (typeof value === 'string') {
    seen.text += Buffer.byteLength(value)
  } else if (Array.isArray(value)) {
    for (const each of value) weigh(each, seen, isContent)
  } else if (value !== null && typeof value === 'object') {
    for (const [name, each] of Object.entries(value)) {
      const holds = typeof each === 'string' || (each !== null && typeof each === 'object' && !Array.isArray(each))
      const isFrame = FRAME.has(name) && typeof each === 'string' && each.length <= LONGEST_FRAME
      if (isContent && HELD.has(name) && holds) seen.images += 1
      else if (!isFrame) weigh(each, seen, CONTENTS.has(name))
    }
  }
}

// A scalar as itself, of anything else that it is there.
function scalar(value) {
  if (typeof value === 'number' && !Number.isFinite(value)) return 'Infinity'
  if (typeof value === 'string') return value.toWellFormed()
  return value !== null && typeof value === 'object' ? {} : value
}

function json(by, body) {
  let members
  try {
    members = JSON.parse(body.toString('utf8'))
  } catch (error) {
    return { by, refused: error.message.toWellFormed() }
  }
  if (members === null || typeof members !== 'object' || Array.isArray(members)) return { by, refused: 'no object' }
  const seen = { by, names: [], values: Object.create(null), prompts: {}, texts: {}, hosted: 0 }
  for (const [name, value] of Object.entries(members)) {
    seen.names.push(name.toWellFormed())
    seen.values[name.toWellFormed()] = scalar(value)
    if (PROMPTS.has(name)) {
      const within = { text: 0, images: 0 }
      weigh(value, within, name === 'system')
      seen.prompts[name] = [within.text, within.images]
    }
    if ((name === 'prompt' || name === 'input') && Array.isArray(value)) {
      seen.texts[name] = value.every((each) => typeof each === 'number') ? 1 : value.length
    }
    if (name === 'tools' && Array.isArray(value)) {
      const isHosted = (tool) => HOSTED.some((start) => String(tool?.type).startsWith(start))
      seen.hosted = value.filter(isHosted).length
    }
  }
  return seen
}

function byBusboy(by, contentType, body) {
  return new Promise((resolve) => {
    const fields = []
    const files = []
    const refused = (error) => resolve({ by, refused: String(error.message) })
    try {
      const reader = busboy({ headers: { 'content-type': contentType } })
      reader.on('field', (name, value) => fields.push([String(name), value]))
      reader.on('file', (name, stream) => {
        const file = [String(name), 0]
        files.push(file)
        stream.on('data', (data) => (file[1] += data.length))
        stream.on('error', refused)
      })
      reader.on('error', refused)
      reader.on('close', () => resolve({ by, fields, files }))
      reader.end(body)
    } catch (error) {
      refused(error)
    }
  })
}

async function byNode(by, contentType, body) {
  const fields = []
  const files = []
  try {
    const form = await new Response(body, { headers: { 'content-type': contentType } }).formData()
    for (const [name, value] of form) {
      if (typeof value === 'string') fields.push([name, value])
      else files.push([name, value.size])
    }
  } catch (error) {
    return { by, refused: String(error.message) }
  }
  return { by, fields, files }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const [kind, type, bytes] = line.split(' ')
  const contentType = Buffer.from(type, 'base64').toString('latin1')
  const body = Buffer.from(bytes, 'base64')
  const answers =
    kind === 'form'
      ? [await byBusboy('busboy', contentType, body), await byNode('Node formData', contentType, body)]
      : [json('Node JSON.parse', body)]
  process.stdout.write(JSON.stringify(answers) + '\n')
}
