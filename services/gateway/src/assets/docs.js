'use strict';
// Renders the OpenAPI document. Text is only ever set as text, never as markup.

const METHODS = ['get', 'post', 'patch', 'put', 'delete'];

/** An element with attributes and children; strings become text. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Text in which `code` and blank lines mean what they mean in the document. */
function prose(text) {
  return (text || '').split('\n\n').map((paragraph) => {
    const parts = paragraph.split('`').map((part, i) => (i % 2 ? el('code', {}, part) : part));
    return el('p', {}, ...parts);
  });
}

const refName = (schema) => schema && schema.$ref && schema.$ref.split('/').pop();
const anchor = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, '-');

/** What a schema accepts, in a few words; named schemas are links. */
function typeOf(schema) {
  if (!schema) return ['any'];
  const name = refName(schema);
  if (name) return [el('a', { href: '#schema-' + anchor(name) }, name)];
  const several = schema.oneOf || schema.anyOf || schema.allOf;
  if (several) {
    const shown = several.filter((s) => s.type !== 'null');
    return shown.flatMap((s, i) => (i ? [' or ', ...typeOf(s)] : typeOf(s)));
  }
  if (schema.enum) return [schema.enum.map((v) => JSON.stringify(v)).join(' | ')];
  const type = [].concat(schema.type || 'any').filter((t) => t !== 'null').join(' | ');
  if (type === 'array') return ['list of ', ...typeOf(schema.items)];
  const limits = [];
  if (schema.format && schema.format !== 'int32' && schema.format !== 'int64') limits.push(schema.format);
  if (schema.minimum !== undefined) limits.push('≥ ' + schema.minimum);
  if (schema.maximum !== undefined) limits.push('≤ ' + schema.maximum);
  if (schema.pattern) limits.push(schema.pattern);
  return [type + (limits.length ? ' (' + limits.join(', ') + ')' : '')];
}

/** All properties of a schema, those it is composed of included. */
function properties(doc, schema, depth = 0) {
  if (!schema || depth > 4) return [];
  const name = refName(schema);
  if (name) return properties(doc, doc.components.schemas[name], depth + 1);
  const own = Object.entries(schema.properties || {}).map(([key, value]) => ({
    key, value, required: (schema.required || []).includes(key),
  }));
  return own.concat((schema.allOf || []).flatMap((part) => properties(doc, part, depth + 1)));
}

function table(head, rows) {
  if (!rows.length) return null;
  const header = el('tr', {}, ...head.map((h) => el('th', { scope: 'col' }, h)));
  return el('table', {}, el('thead', {}, header), el('tbody', {}, ...rows));
}

function propertyTable(doc, schema) {
  const rows = properties(doc, schema).map(({ key, value, required }) =>
    el('tr', {},
      el('td', { class: 'name' }, el('code', {}, key), required ? el('span', { class: 'need', title: 'required' }, ' *') : ''),
      el('td', {}, ...typeOf(value)),
      el('td', {}, ...prose(value.description).flatMap((p) => [...p.childNodes]))));
  return table(['Field', 'Type', 'Meaning'], rows);
}

/** A command line that would work with a key in $KEY. */
function curl(doc, path, method, operation) {
  const lines = ['curl --cacert cert.pem'];
  if (method !== 'get') lines[0] += ' -X ' + method.toUpperCase();
  lines[0] += ' ' + location.origin + path.replace(/\{(\w+)\}/g, '$1');
  if (operation.security) lines.push("-H \"Authorization: Bearer $KEY\"");
  const content = (operation.requestBody || {}).content || {};
  if (content['multipart/form-data']) {
    for (const { key, value } of properties(doc, content['multipart/form-data'].schema)) {
      const file = value.format === 'binary' || (value.items && value.items.format === 'binary');
      if (file) lines.push('-F ' + key + '=@photo.jpg');
    }
    if (operation.summary.startsWith('Enrol')) {
      lines.push("-F consent='{\"purposes\":[\"access_control\"],\"method\":\"signed_form\"}'");
    }
  } else if (content['application/json']) {
    const needed = properties(doc, content['application/json'].schema).filter((p) => p.required);
    const example = Object.fromEntries(needed.map(({ key, value }) => [key, sample(key, value)]));
    lines.push("-H 'Content-Type: application/json'", "-d '" + JSON.stringify(example) + "'");
  }
  return lines.join(' \\\n  ');
}

function sample(key, schema) {
  if (key === 'purposes') return ['access_control'];
  if (key === 'scopes') return ['detect'];
  if (schema.type === 'array') return [];
  return schema.type === 'integer' ? 1 : key.replace(/_id$/, '');
}

function code(text) {
  const button = el('button', { class: 'copy', type: 'button' }, 'Copy');
  button.addEventListener('click', () => navigator.clipboard.writeText(text));
  return el('pre', {}, el('code', {}, text), button);
}

function responses(doc, operation) {
  const rows = Object.entries(operation.responses || {}).map(([status, response]) => {
    const schema = Object.values(response.content || {}).map((c) => c.schema).find(Boolean);
    const problem = refName(schema) === 'Problem';
    return el('tr', {},
      el('td', { class: 'name' }, el('code', {}, status)),
      el('td', {}, ...(schema && !problem ? typeOf(schema) : [])),
      el('td', {}, ...prose(response.description).flatMap((p) => [...p.childNodes])));
  });
  return table(['Status', 'Body', 'Meaning'], rows);
}

function operationView(doc, path, method, operation) {
  const scope = operation.security && operation.security[0] && Object.values(operation.security[0])[0][0];
  const parameters = (operation.parameters || []).map((p) =>
    el('tr', {},
      el('td', { class: 'name' }, el('code', {}, p.name), p.required ? el('span', { class: 'need' }, ' *') : ''),
      el('td', {}, p.in),
      el('td', {}, ...typeOf(p.schema)),
      el('td', {}, ...prose(p.description).flatMap((n) => [...n.childNodes]))));
  const bodies = Object.entries((operation.requestBody || {}).content || {});
  const documented = bodies.find(([, body]) => body.schema);
  return el('article', { id: anchor(method + path) },
    el('h3', {}, el('span', { class: 'method ' + method }, method.toUpperCase()), el('code', {}, path),
      scope ? el('span', { class: 'scope', title: 'scope the API key needs' }, scope) : ''),
    el('p', {}, el('strong', {}, operation.summary || '')),
    ...prose(operation.description),
    code(curl(doc, path, method, operation)),
    parameters.length ? el('details', {}, el('summary', {}, 'Parameters'), table(['Name', 'In', 'Type', 'Meaning'], parameters)) : null,
    documented ? el('details', {}, el('summary', {}, 'Body'),
      el('p', {}, 'As ', ...bodies.flatMap(([kind], i) => [i ? ', ' : '', el('code', {}, kind)])),
      propertyTable(doc, documented[1].schema)) : null,
    el('details', {}, el('summary', {}, 'Answers'), responses(doc, operation)));
}

function schemaView(doc, name, schema) {
  return el('article', { id: 'schema-' + anchor(name) },
    el('h3', {}, el('code', {}, name)),
    ...prose(schema.description),
    propertyTable(doc, schema) || el('p', {}, ...typeOf(schema)));
}

function render(doc) {
  const nav = document.getElementById('nav');
  const main = document.getElementById('main');
  document.title = doc.info.title + ' API ' + doc.info.version;
  const search = el('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter operations' });
  search.addEventListener('input', () => {
    const wanted = search.value.toLowerCase();
    for (const link of nav.querySelectorAll('a')) link.hidden = !link.textContent.toLowerCase().includes(wanted);
  });
  nav.append(search);
  main.append(el('h1', {}, doc.info.title + ' ' + doc.info.version), ...prose(doc.info.description),
    el('p', {}, 'Machine-readable: ', el('a', { href: '/openapi.json' }, '/openapi.json')));
  for (const tag of doc.tags || []) {
    nav.append(el('h2', {}, tag.name));
    const section = el('section', { class: 'tag' }, el('h2', {}, tag.name), ...prose(tag.description));
    for (const [path, item] of Object.entries(doc.paths)) {
      for (const method of METHODS.filter((m) => item[m] && (item[m].tags || []).includes(tag.name))) {
        section.append(operationView(doc, path, method, item[method]));
        nav.append(el('a', { href: '#' + anchor(method + path) }, method.toUpperCase() + ' ' + path));
      }
    }
    main.append(section);
  }
  nav.append(el('h2', {}, 'Schemas'));
  const schemas = el('section', { class: 'tag' }, el('h2', {}, 'Schemas'));
  for (const [name, schema] of Object.entries(doc.components.schemas)) {
    schemas.append(schemaView(doc, name, schema));
    nav.append(el('a', { href: '#schema-' + anchor(name) }, name));
  }
  main.append(schemas);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch('/openapi.json')
  .then((response) => response.json())
  .then(render)
  .catch((error) => document.getElementById('main').append(el('p', {}, 'The document cannot be read: ' + error.message)));
