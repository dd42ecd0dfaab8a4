// The search page: reads the form, asks POST /v1/search, draws the answer. All text reaches the page as text nodes.

const PLATFORMS = { instagram: "Instagram", tiktok: "TikTok", youtube: "YouTube", x: "X" };
const PAGE_SIZE = 10;
const ACTIVE_DAYS = 90;
const $ = (id) => document.getElementById(id);

/** `body` is the request of the cards on the page, `running` the search and `detail` the creator on their way. */
const state = { seeds: [], opposites: [], body: null, cursor: null, shown: 0, running: null, detail: null };
const dictionary = { risks: [] };

/** Element with properties and children; strings become text nodes, null children are left out. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const isKnown = (value) => value !== null && value !== undefined;
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (value) => (isKnown(value) ? compact.format(value) : "–");
const percent = (value, digits = 2) => (isKnown(value) ? `${(value * 100).toFixed(digits)} %` : "–");
const score = (value) => (isKnown(value) ? value.toFixed(2) : "–");
const day = (value) => (value ? value.slice(0, 10) : "–");
const NAMES = { region: new Intl.DisplayNames(["en"], { type: "region" }), language: new Intl.DisplayNames(["en"], { type: "language" }) };
const nameOf = (kind, code) => { try { return NAMES[kind].of(code) ?? code; } catch { return code; } };

/** "1 500" and "1,500" -> 1500, "1.5" and "1,5" -> 1.5, "" -> null, NaN for what cannot be read. */
function parseNumber(text) {
  const plain = text.replace(/\s/g, "");
  if (plain === "") return null;
  const isInThousands = /^[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(plain);
  const digits = isInThousands ? plain.replaceAll(",", "") : plain.replace(",", ".");
  const number = /^(\d+\.?\d*|\.\d+)$/.test(digits) ? Number(digits) : NaN;
  return Number.isFinite(number) ? number : NaN;
}

/** "10K" -> 10000, "1.5 M" -> 1500000. */
function parseCount(text) {
  const [, digits, unit] = /^(.*?)([kmb]?)\s*$/is.exec(text);
  if (unit && !digits.trim()) return NaN;
  const number = parseNumber(digits);
  return number === null ? null : Math.round(number * { "": 1, k: 1e3, m: 1e6, b: 1e9 }[unit.toLowerCase()]);
}

/** "5" and "5 %" -> 0.05. */
function parsePercent(text) {
  const digits = text.replace(/%\s*$/, "");
  const number = digits !== text && !digits.trim() ? NaN : parseNumber(digits);
  return number === null ? null : number / 100;
}

const NUMBERS = {
  followers_min: parseCount, followers_max: parseCount, er_min: parsePercent, er_max: parsePercent,
  quality_min: parseNumber, anomaly_max: parseNumber,
};

/** Numbers of the form by field; null, and the first wrong field is told about, where one cannot be read. */
function readNumbers() {
  const fields = Object.keys(NUMBERS).map((name) => $("filters").elements[name]);
  const numbers = Object.fromEntries(fields.map((field) => [field.name, NUMBERS[field.name](field.value)]));
  for (const field of fields) {
    const isWrong = Number.isNaN(numbers[field.name]);
    field.setCustomValidity(isWrong ? `Write a number such as ${field.placeholder}` : "");
    field.setAttribute("aria-invalid", String(isWrong));
  }
  const wrong = fields.find((field) => !field.validity.valid);
  wrong?.reportValidity();
  return wrong ? null : numbers;
}

function range(minimum, maximum) {
  const result = {};
  if (isKnown(minimum)) result.min = minimum;
  if (isKnown(maximum)) result.max = maximum;
  return Object.keys(result).length ? result : undefined;
}

function readFilters(numbers) {
  const form = new FormData($("filters"));
  const text = (name) => String(form.get(name) ?? "");
  const filters = {
    platforms: form.getAll("platform").length ? { any: form.getAll("platform") } : undefined,
    followers: range(numbers.followers_min, numbers.followers_max),
    er_followers: range(numbers.er_min, numbers.er_max),
    niche: text("niche") ? { include: [text("niche")] } : undefined,
    location: text("country") ? { country: [text("country")] } : undefined,
    language: text("language") ? [text("language")] : undefined,
    quality_min: numbers.quality_min ?? undefined,
    anomaly_max: numbers.anomaly_max ?? undefined,
    verified: form.has("verified") ? true : undefined,
    risk: form.has("no_risk") ? { exclude: dictionary.risks } : undefined,
    active_within_days: form.has("active") ? ACTIVE_DAYS : undefined,
  };
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined));
}

/** Body of a search for what the form says; null where it cannot be read. */
function request() {
  const numbers = readNumbers();
  if (!numbers) return null;
  const body = { filters: readFilters(numbers), limit: PAGE_SIZE };
  const query = $("query").value.trim();
  if (query) body.query = query;
  if (state.seeds.length) body.similar_to = state.seeds.map((seed) => seed.id);
  const isCompared = body.query || body.similar_to;
  if (state.opposites.length && isCompared) body.dissimilar_to = state.opposites.map((seed) => seed.id);
  const domain = $("filters").elements.domain.value;
  if (domain && isCompared) body.domain = domain;
  return body;
}

async function call(path, options = {}) {
  const response = await fetch(path, options);
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const message = problem.error?.message ?? `The service answered ${response.status}.`;
  throw Object.assign(new Error(message), { code: problem.error?.code });
}

async function search({ isMore = false } = {}) {
  const body = isMore ? { ...state.body, cursor: state.cursor } : request();
  if (!body) return;
  if (!isMore) rememberForm();
  const running = { text: JSON.stringify(body), controller: new AbortController() };
  if (state.running?.text === running.text) return;
  state.running?.controller.abort();
  state.running = running;
  $("main").setAttribute("aria-busy", "true");
  try {
    const answer = await call("/v1/search", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: running.text,
      signal: running.controller.signal,
    });
    if (state.running !== running) return;
    if (!isMore) state.body = body;
    show(answer, isMore);
  } catch (error) {
    if (state.running === running) fail(error, isMore);
  } finally {
    if (state.running === running) {
      state.running = null;
      $("main").removeAttribute("aria-busy");
    }
  }
}

/** Tells what went wrong: below the cards where only more of them were asked for, else in their place. */
function fail(error, isMore = false) {
  const isGone = error.code === "snapshot_gone";
  const text = isGone ? `${error.message} The data was renewed: search again.` : error.message;
  const message = h("li", { class: "message error", role: "alert" }, text);
  forgetMessages();
  if (!isMore) {
    $("summary").replaceChildren();
    $("hits").replaceChildren();
  }
  $("hits").append(message);
  $("more").hidden = isGone || !isMore;
}

function forgetMessages() {
  for (const message of $("hits").querySelectorAll(".message")) message.remove();
}

function show(answer, isMore) {
  forgetMessages();
  if (!isMore) { $("hits").replaceChildren(); state.shown = 0; }
  state.cursor = answer.next_cursor;
  state.shown += answer.hits.length;
  $("hits").append(...answer.hits.map(card));
  if (state.shown === 0) $("hits").append(h("li", { class: "message" }, emptyText(answer)));
  $("more").hidden = !state.cursor;
  showSummary(answer);
  showFacets(answer.facets);
}

/** Names the filter that alone leaves fewest creators. */
function emptyText(answer) {
  const clauses = Object.entries(answer.explain?.clauses ?? {}).sort(([, a], [, b]) => a - b);
  if (!clauses.length) return "Nothing to rank by yet: describe the creator or set a filter.";
  const [name, passed] = clauses[0];
  return `No creator matches. The filter “${name.replaceAll("_", " ")}” alone leaves ${passed.toLocaleString("en")}; loosen it or another one.`;
}

function showSummary(answer) {
  const total = `${answer.total_is_exact ? "" : "about "}${answer.total.toLocaleString("en")}`;
  const { name, ms } = answer.plan;
  $("summary").replaceChildren(
    h("strong", {}, `${total} ${answer.total === 1 ? "creator" : "creators"}`),
    h("span", { class: "plan", title: "How the answer was found" },
      `plan ${name.replaceAll("_", " ")} · ${ms.toFixed(0)} ms`),
  );
}

function showFacets(facets) {
  const byPlatform = new Map((facets.platform ?? []).map((entry) => [entry.code, entry.count]));
  for (const element of document.querySelectorAll("[data-facet]")) {
    element.textContent = count(byPlatform.get(element.dataset.facet) ?? 0);
  }
}

const hash = (text) => [...text].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) >>> 0, 7);
const initials = (name) => [...name.replace(/[^\p{L}\p{N} ]/gu, "").trim() || "?"][0].toUpperCase();

function avatar(hit) {
  return h("div", { class: `avatar a${(hash(hit.creator_id) % 6) + 1}`, "aria-hidden": "true" }, initials(title(hit)));
}

const title = (hit) => hit.display_name || hit.profiles[0]?.handle || hit.creator_id;

function card(hit) {
  return h("li", { class: "card" },
    avatar(hit),
    h("div", {},
      h("h3", {}, h("button", { type: "button", onclick: () => openDetail(hit.creator_id) }, title(hit)),
        hit.is_verified ? h("span", { class: "tick", title: "verified by a platform" }, "✓") : null),
      chips(hit),
      hit.bio ? h("p", { class: "bio", dir: "auto" }, hit.bio) : null,
      profileList(hit.profiles),
      hit.reasons.length ? h("ul", { class: "reasons" }, hit.reasons.map((reason) => h("li", {}, reason))) : null,
    ),
    why(hit),
  );
}

function chips(hit) {
  return h("div", { class: "chips" },
    hit.niches.slice(0, 3).map((niche) => h("span", { class: "chip", title: `score ${score(niche.score)}` }, niche.label)),
    hit.country_codes.map((code) => h("span", { class: "chip place" }, nameOf("region", code))),
    hit.language_codes.map((code) => h("span", { class: "chip place" }, nameOf("language", code))),
    hit.risks.map((risk) => h("span", { class: "chip risk", title: `${risk.level ?? ""} risk found in the text` }, risk.label)),
  );
}

function profileList(profiles) {
  return h("ul", { class: "profiles" }, profiles.map((profile) => h("li", {},
    h("span", { class: "platform" }, PLATFORMS[profile.platform] ?? profile.platform),
    h("span", { class: "handle", dir: "auto" }, profileLink(profile)),
    h("span", { class: "number", title: "followers" }, count(profile.followers_count)),
    h("span", { class: "number muted", title: "engagement by followers" }, isKnown(profile.er_followers_ratio) ? percent(profile.er_followers_ratio, 1) : ""),
  )));
}

function profileLink(profile) {
  const name = profile.handle ? `@${profile.handle.replace(/^@/, "")}` : profile.display_name || profile.platform_account_id;
  const isWeb = profile.profile_url?.startsWith("https://");
  return isWeb ? h("a", { href: profile.profile_url, target: "_blank", rel: "noopener noreferrer" }, name) : name;
}

function why(hit) {
  const parts = hit.contributions.filter((part) => Math.abs(part.contribution) >= 0.0005);
  const total = parts.reduce((sum, part) => sum + Math.max(0, part.contribution), 0) || 1;
  const bar = h("div", { class: "bar", "aria-hidden": "true" });
  parts.forEach((part, index) => {
    const piece = h("span", { class: `k${(index % 7) + 1}`, title: `${part.name} ${part.contribution.toFixed(3)}` });
    piece.style.width = `${(Math.max(0, part.contribution) / total) * 100}%`;
    bar.append(piece);
  });
  return h("div", { class: "why" },
    h("div", { class: "score" }, h("span", {}, "match"), h("b", {}, score(hit.score))),
    bar,
    h("dl", { class: "parts" }, parts.map((part, index) => h("div", { title: part.text ?? "" },
      h("dt", {}, h("span", { class: `dot k${(index % 7) + 1}` }), part.name.replaceAll("_", " ")),
      h("dd", {}, part.contribution.toFixed(3))))),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "quiet", onclick: () => addSeed(hit, "seeds") }, "More like this"),
      isCompared() ? h("button", { type: "button", class: "quiet", onclick: () => addSeed(hit, "opposites") }, "Less like this") : null,
      h("button", { type: "button", class: "quiet", onclick: () => openDetail(hit.creator_id) }, "Profile")),
  );
}

/* Something to be like: without it, being less like a creator means nothing. */
function isCompared() {
  return Boolean(state.body?.query || state.body?.similar_to);
}

function addSeed(hit, list) {
  if (!state[list].some((seed) => seed.id === hit.creator_id)) state[list].push({ id: hit.creator_id, name: title(hit) });
  showSeeds();
  search();
  window.scrollTo({ top: 0 });
}

function dropSeed(list, seed) {
  state[list] = state[list].filter((other) => other !== seed);
  if (!state.seeds.length && !$("query").value.trim()) state.opposites = [];
  showSeeds();
  search();
}

function showSeeds() {
  const named = (list, words) => state[list].length ? [words, ...state[list].map((seed) =>
    h("button", { type: "button", class: "quiet", title: "remove", onclick: () => dropSeed(list, seed) }, `${seed.name} ✕`))] : [];
  $("seeds").replaceChildren(...named("seeds", "Similar to "), ...named("opposites", "Less like "));
  $("seeds").hidden = !$("seeds").childNodes.length;
}

async function openDetail(creatorId) {
  const dialog = $("detail");
  const opened = new AbortController();
  state.detail?.abort();
  state.detail = opened;
  dialog.replaceChildren(h("div", { class: "sheet" }, "Loading …"));
  if (!dialog.open) dialog.showModal();
  try {
    const creator = await call(`/v1/creators/${encodeURIComponent(creatorId)}`, { signal: opened.signal });
    if (state.detail !== opened) return;
    const evidence = h("section", { class: "evidence", "aria-busy": "true" });
    dialog.replaceChildren(sheet(creator, evidence));
    await fillEvidence(evidence, creator.creator_id, opened);
  } catch (error) {
    if (state.detail === opened) dialog.replaceChildren(h("div", { class: "sheet" }, error.message));
  }
}

function sheet(creator, evidence) {
  return h("div", { class: "sheet" },
    h("header", {}, avatar(creator),
      h("div", {}, h("h2", {}, title(creator)), chips(creator), h("p", { class: "id" }, creator.creator_id)),
      h("button", { type: "button", class: "quiet", onclick: () => $("detail").close() }, "Close")),
    creator.bio ? h("section", {}, h("p", { dir: "auto" }, creator.bio)) : null,
    h("section", {}, facts(creator)),
    h("section", {}, h("h3", {}, "Profiles, followers, engagement, confidence that it is the same creator"), sheetProfiles(creator.profiles)),
    evidence,
    history(creator),
    quality(creator.score_reasons),
    posts(creator.posts),
  );
}

function facts(creator) {
  const rows = [
    ["Followers, all profiles", count(creator.followers_total_count)],
    ["Engagement by followers", percent(creator.er_followers_ratio)],
    ["Engagement by views", percent(creator.er_views_ratio)],
    ["Growth in 90 days", percent(creator.growth_90d_ratio, 1)],
    ["Posts a week", score(creator.posts_per_week)],
    ["Last known post", day(creator.last_post_at)],
    ["Quality", score(creator.quality_score)],
    ["Anomaly", score(creator.anomaly_score)],
    ["As of", day(creator.as_of)],
  ];
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function sheetProfiles(profiles) {
  const list = profileList(profiles);
  [...list.children].forEach((row, index) => row.append(
    h("span", { class: "number muted" }, percent(profiles[index].identity_confidence_score, 0))));
  return list;
}

/** Draws why the accounts are one into its section; that this fails leaves the rest of the profile as it is. */
async function fillEvidence(section, creatorId, opened) {
  const heading = h("h3", {}, "Why these accounts are one creator, and what came near");
  try {
    const told = await call(`/v1/creators/${encodeURIComponent(creatorId)}/evidence`, { signal: opened.signal });
    section.replaceChildren(heading, ...evidenceView(told));
  } catch (error) {
    if (state.detail === opened) section.replaceChildren(heading, h("p", { class: "muted" }, error.message));
  }
  section.removeAttribute("aria-busy");
}

const SVG = "http://www.w3.org/2000/svg";
/** Width of the drawing, widest label in letters, most accounts of others, most lines that carry their bits. */
const GRAPH = { wide: 700, narrow: 340, label: 18, short: 13, near: 6, numbered: 8, phone: 600 };

/** SVG element; `title` is its tooltip. */
function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const nodeKey = (end) => JSON.stringify([end.platform, end.platform_account_id]);
const nodeName = (end) => (end.handle ? `@${end.handle.replace(/^@/, "")}` : end.platform_account_id.replace(/^~/, ""));
const KNOWN_BY = { "@": ", by handle only", "~": ", by name only" };
const platformOf = (end) => PLATFORMS[end.platform] ?? end.platform;
const platformName = (end) => `${platformOf(end)}${KNOWN_BY[end.platform_account_id[0]] ?? ""}`;
const edgeName = (edge) => `${nodeName(edge.left)} (${platformName(edge.left)}) – ${nodeName(edge.right)} (${platformName(edge.right)})`;
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const bits = (value) => (isKnown(value) ? `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)}` : "–");
/** A chance never reads as certain. */
const chance = (value) => (!isKnown(value) ? "" : value > 0.999 ? "> 99.9 %" : value < 0.001 ? "< 0.1 %" : percent(value, 1));
const worth = (edge) => [...edge.judgements.map((one) => `${one.kind} by people`), isKnown(edge.log_odds) ? `${bits(edge.log_odds)} bits` : null].filter(Boolean).join(" · ");

/** The graph, the signals of the pair that is chosen, and all pairs as lists of buttons. */
function evidenceView(told) {
  if (!told.is_available) return [h("p", { class: "muted" }, "This snapshot was made without evidence; the next one that is published has it.")];
  const edges = [...told.edges, ...told.near_misses];
  if (!edges.length) return [h("p", { class: "muted" }, "One account, and nothing that was compared with it came near.")];
  const panel = h("div", { class: "signals", "aria-live": "polite" });
  const parts = new Map(edges.map((edge) => [edge, []]));
  const mark = (edge, name, isOn) => parts.get(edge).forEach((part) => part.classList.toggle(name, isOn));
  const choose = (chosen) => {
    for (const [edge, own] of parts) {
      mark(edge, "chosen", edge === chosen);
      own.filter((part) => part.tagName === "BUTTON").forEach((button) => button.setAttribute("aria-pressed", String(edge === chosen)));
    }
    panel.replaceChildren(...signalsOf(chosen, told));
  };
  const listen = (edge, part) => {
    parts.get(edge).push(part);
    part.addEventListener("click", () => { choose(edge); panel.scrollIntoView({ block: "nearest" }); });
    part.addEventListener("pointerenter", () => mark(edge, "hovered", true));
    part.addEventListener("pointerleave", () => mark(edge, "hovered", false));
    return part;
  };
  const list = (some) => h("ul", { class: "edges" }, some.map((edge) => h("li", {}, listen(edge, edgeButton(edge)))));
  const joining = told.edges.filter((edge) => edge.is_joining);
  const weaker = told.edges.filter((edge) => !edge.is_joining);
  const view = [
    graph(told, edges, listen),
    panel,
    joining.length ? list(joining) : null,
    weaker.length ? h("details", {}, h("summary", {}, `${weaker.length} weaker ${weaker.length === 1 ? "pair" : "pairs"} among them`), list(weaker)) : null,
    told.near_misses.length ? h("details", { open: !joining.length }, h("summary", {}, `${told.near_misses.length} near ${told.near_misses.length === 1 ? "miss" : "misses"} with other creators`), list(told.near_misses)) : null,
  ];
  choose(edges[0]);
  return view.filter(Boolean);
}

function edgeButton(edge) {
  return h("button", { type: "button", class: "quiet" },
    h("span", { class: `dot ${edgeKind(edge)}` }), h("span", { class: "ends", dir: "auto" }, edgeName(edge)),
    h("span", { class: "number" }, worth(edge)), h("span", { class: "number muted" }, chance(edge.probability)));
}

const edgeKind = (edge) => (edge.left.creator_id !== edge.right.creator_id ? "near" : edge.is_joining ? "joins" : "weak");

/** Own accounts on an ellipse, those of other creators in a column beside it; clicks on lines choose, keys use the list. */
function graph(told, edges, listen) {
  const own = told.accounts.map((account) => [nodeKey(account), account]);
  const others = new Map(told.near_misses.map((edge) => (edge.left.creator_id === told.creator_id ? edge.right : edge.left)).map((end) => [nodeKey(end), end]));
  const isNarrow = window.innerWidth < GRAPH.phone;
  const shown = isNarrow ? [] : [...others].slice(0, GRAPH.near);
  const isFlat = own.length === 2 && !shown.length;  // else the way to a third account would run through the second
  const height = Math.max(own.length > 1 && !isFlat ? 200 + 18 * Math.min(own.length, 12) : 130, shown.length * 46 + 40);
  const [width, middle, wide] = isNarrow ? [GRAPH.narrow, 170, 95] : [GRAPH.wide, ...(shown.length ? [225, 140] : [350, 210])];
  const place = new Map(own.map(([key], i) => {
    const angle = (i / own.length) * 2 * Math.PI - Math.PI / 2 + (isFlat ? Math.PI / 2 : 0);
    return [key, own.length === 1 ? [middle, height / 2] : [middle + wide * Math.cos(angle), height / 2 + (height / 2 - 48) * Math.sin(angle)]];
  }));
  shown.forEach(([key], i) => place.set(key, [525, (height / (shown.length + 1)) * (i + 1)]));
  const drawn = edges.filter((edge) => place.has(nodeKey(edge.left)) && place.has(nodeKey(edge.right)));
  const said = `${own.length} accounts, ${told.edges.filter((edge) => edge.is_joining).length} pairs that join them, ${told.near_misses.length} near misses; the lists below say the same`;
  return s("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said },
    ...drawn.toReversed().map((edge) => listen(edge, line(edge, place, drawn.length <= GRAPH.numbered))),
    ...own.map(([key, account]) => node(account, place.get(key), { where: labelPlace(place.get(key)[1], height, own.length), isNarrow })),
    ...shown.map(([key, end]) => node(end, place.get(key), { where: "beside" })));
}

function line(edge, place, isNumbered) {
  const [[x1, y1], [x2, y2]] = [place.get(nodeKey(edge.left)), place.get(nodeKey(edge.right))];
  const ends = { x1, y1, x2, y2 };
  const width = edge.judgements.length && !isKnown(edge.log_odds) ? 3 : 1 + Math.min(4, Math.max(0, edge.log_odds) / 6);
  const text = s("text", { x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 6, class: "bits" }, isKnown(edge.log_odds) ? bits(edge.log_odds) : edge.judgements[0]?.kind ?? "");
  return s("g", { class: `edge ${edgeKind(edge)}${edge.judgements.length ? " judged" : ""}` },
    s("title", {}, `${edgeName(edge)}: ${worth(edge)}`),
    s("line", { ...ends, class: "touch" }), s("line", { ...ends, class: "drawn", "stroke-width": width }),
    ...(isNumbered ? [text] : []));
}

/** Where a label stands: offsets of its name, and its anchor; the platform stands below the name. */
const LABELS = { above: [0, -28, "middle"], below: [0, 24, "middle"], before: [-14, -2, "end"], beside: [14, -2, "start"] };
const labelPlace = (y, height, accounts) => (accounts === 1 ? "before" : y < height / 2 - 1 ? "above" : "below");

function node(end, [x, y], { where, isNarrow = false }) {
  const name = cut(nodeName(end), isNarrow ? GRAPH.short : GRAPH.label);
  const [dx, dy, anchor] = LABELS[where];
  const label = s("text", { x: x + dx, y: y + dy, "text-anchor": anchor }, name);
  const below = s("text", { x: x + dx, y: y + dy + 14, "text-anchor": anchor, class: "platform" }, isNarrow ? platformOf(end) : platformName(end));
  return s("g", { class: `node ${where === "beside" ? "other" : "own"}` }, s("title", {}, `${platformName(end)} ${nodeName(end)}`), s("circle", { cx: x, cy: y, r: 8 }), label, below);
}

/** The signals of a pair with their bits, which add up to its score. */
function signalsOf(edge, told) {
  const most = Math.max(1, ...edge.reasons.map((reason) => Math.abs(reason.log_odds)));
  const other = [edge.left, edge.right].find((end) => end.creator_id !== told.creator_id);
  const sum = isKnown(edge.log_odds) ? h("tfoot", {}, h("tr", {},
    h("th", { scope: "row" }, `Sum; ${told.merge_log_odds.toFixed(1)} are enough to join`), h("td", {}), h("td", { class: "number" }, bits(edge.log_odds)), h("td", { class: "number muted" }, chance(edge.probability)))) : null;
  return [
    h("h4", { dir: "auto" }, edgeName(edge)),
    h("p", {}, edge.why, ...edge.judgements.map((one) => ` (${one.kind}, judgement ${one.number}, ${day(one.at)})`)),
    edge.reasons.length ? h("table", {}, h("caption", { class: "visually-hidden" }, "Signals and their bits"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Signal"), h("th", { scope: "col" }, "Where it was seen"), h("th", { scope: "col", class: "number" }, "Bits"), h("th", { "aria-hidden": "true" }))),
      h("tbody", {}, edge.reasons.map((reason) => signalRow(reason, edge, most))), sum) : null,
    other?.has_profile ? h("button", { type: "button", class: "quiet", onclick: () => openDetail(other.creator_id) }, "Open the other creator") : null,
  ].filter(Boolean);
}

function signalRow(reason, edge, most) {
  const bar = h("span", { class: `bit ${reason.log_odds < 0 ? "against" : "for"}`, "aria-hidden": "true" });
  bar.style.width = `${(Math.abs(reason.log_odds) / most) * 50}%`;
  const values = [...new Set([reason.left?.value, reason.right?.value].filter(Boolean))];
  return h("tr", {},
    h("th", { scope: "row" }, reason.words, values.length ? h("span", { class: "values", dir: "auto" }, values.join(" | ")) : null),
    h("td", {}, seenAt(reason.left, edge.left), seenAt(reason.right, edge.right)),
    h("td", { class: "number" }, bits(reason.log_odds)),
    h("td", { class: "bits-bar" }, bar));
}

function seenAt(place, end) {
  if (!place?.field) return null;
  const what = place.field.replaceAll("_", " ").replace(/ (url|code|count)$/, "");
  const where = place.url?.startsWith("https://") ? h("a", { href: place.url, target: "_blank", rel: "noopener noreferrer" }, what) : what;
  return h("div", {}, `${platformOf(end)}: `, where, place.seen_at ? [", ", h("span", { class: "date" }, day(place.seen_at))] : null);
}

/** One curve a profile: what one source knows by id and another by handle is one, of a day's values the largest. */
function history(creator) {
  const key = (row) => JSON.stringify([row.platform, row.platform_account_id]);
  const handles = new Map([...creator.accounts, ...creator.profiles].map((account) => [key(account), account.handle]));
  const label = (row) => {
    const handle = handles.get(key(row));
    return `${PLATFORMS[row.platform] ?? row.platform} ${handle ? `@${handle.replace(/^@/, "").toLowerCase()}` : row.platform_account_id}`;
  };
  const known = creator.history.filter((row) => isKnown(row.followers_count));
  const daily = (rows) => [...Map.groupBy(rows, (row) => row.metric_date).values()]
    .map((sameDay) => sameDay.reduce((best, row) => (row.followers_count > best.followers_count ? row : best)));
  const charts = [...Map.groupBy(known, label)].map(([name, rows]) => [name, daily(rows)])
    .filter(([, points]) => points.length > 1).map(([name, points]) => sparkline(name, points));
  return charts.length ? h("section", {}, h("h3", {}, "Followers over time"), charts) : null;
}

function sparkline(label, rows) {
  const points = rows.toSorted((a, b) => a.metric_date.localeCompare(b.metric_date));
  const values = points.map((point) => point.followers_count);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const times = points.map((point) => Date.parse(point.metric_date));
  const span = times.at(-1) - times[0] || 1;
  const xy = values.map((value, i) => `${((times[i] - times[0]) / span) * 100},${high === low ? 20 : 38 - ((value - low) / (high - low)) * 36}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${label}: first ${count(values[0])}, last ${count(values.at(-1))}, lowest ${count(low)}, highest ${count(high)} followers`);
  line.setAttribute("points", xy.join(" "));
  svg.append(line);
  const end = (index) => `${points.at(index).metric_date} · ${count(values.at(index))}`;
  return h("div", {}, svg, h("div", { class: "spark-legend" }, h("span", {}, end(0)), h("b", {}, label), h("span", {}, end(-1))));
}

function quality(reasons) {
  if (!reasons.length) return null;
  return h("section", {}, h("h3", {}, "Why this quality and anomaly"), h("ul", { class: "reasons" }, reasons.map((reason) => h("li", {}, reason.text ?? reason.code))));
}

function posts(rows) {
  if (!rows.length) return null;
  return h("section", {}, h("h3", {}, "Recent posts"), h("ul", { class: "posts" }, rows.slice(0, 8).map((post) => h("li", {},
    h("span", { class: "title", dir: "auto" }, post.title || post.caption || post.post_id),
    h("span", { class: "muted" }, `${day(post.published_at)} · ${count(post.views_count)} views · ${count(post.likes_count)} likes`)))));
}

/** Options sorted by name; `kind` names codes that have no label of their own. */
function fill(select, entries, kind) {
  const named = entries.filter((entry) => entry.count).map((entry) => [kind ? nameOf(kind, entry.code) : entry.label, entry]);
  named.sort(([a], [b]) => a.localeCompare(b));
  select.append(...named.map(([name, entry]) => h("option", { value: entry.code }, `${name} (${count(entry.count)})`)));
}

async function loadDictionaries() {
  const [known, snapshot] = await Promise.all([call("/v1/dictionaries"), call("/v1/snapshot")]);
  dictionary.risks = known.risks.map((risk) => risk.code);
  const form = $("filters").elements;
  form.no_risk.disabled = false;
  fill(form.niche, known.niches);
  fill(form.country, known.countries, "region");
  fill(form.language, known.languages, "language");
  fill(form.domain, known.domains);
  $("domains").hidden = !known.domains.length;
  $("snapshot").textContent = `${snapshot.creators.toLocaleString("en")} creators · as of ${day(snapshot.as_of)} · snapshot ${snapshot.snapshot_id.slice(0, 8)}`;
}

function drawPlatforms() {
  $("platforms").replaceChildren(...Object.entries(PLATFORMS).map(([code, name]) =>
    h("label", {}, h("input", { type: "checkbox", name: "platform", value: code }), name, h("span", { class: "count", "data-facet": code }))));
}

/** The form lives in the address, so that a search can be bookmarked and shared. */
function rememberForm() {
  const entries = [["query", $("query").value], ...new FormData($("filters"))].filter(([, value]) => value !== "");
  window.history.replaceState(null, "", entries.length ? `?${new URLSearchParams(entries)}` : window.location.pathname);
}

function restoreForm() {
  for (const [name, value] of new URLSearchParams(window.location.search)) {
    if (name === "query") $("query").value = value;
    for (const box of [...$("filters").elements].filter((field) => name && field.name === name)) {
      if (box.type === "checkbox") box.checked ||= box.value === value;
      else box.value = value;
    }
  }
}

async function start() {
  drawPlatforms();
  $("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  $("filters").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  $("filters").addEventListener("input", (event) => event.target.setCustomValidity?.(""));
  $("filters").addEventListener("change", () => search());
  $("clear").addEventListener("click", () => { $("filters").reset(); state.seeds = []; state.opposites = []; showSeeds(); search(); });
  $("more").addEventListener("click", () => search({ isMore: true }));
  $("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
  $("detail").addEventListener("close", () => { state.detail?.abort(); state.detail = null; });
  try {
    await loadDictionaries();
  } catch (error) {
    fail(error);
    return;
  }
  restoreForm();
  await search();
}

start();
