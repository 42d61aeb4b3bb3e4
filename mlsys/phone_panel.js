// The chat panel of mlsys.phone. Whatever users and bots say is put in as text, never as HTML.

const WIDEST = 220; // px: the widest and highest that a photo is shown
const ENLARGED = 112; // px: and one of few pixels, made larger so that each can be seen

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function icon(path, label) {
  const button = make("button", "phone-icon");
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  button.append(svg);
  return button;
}

function photo(message, address) {
  if (!address) return make("div", "phone-dim", "photo, no longer kept");
  const [width, height] = message.size;
  const longest = Math.max(width, height);
  const scale = longest < ENLARGED ? ENLARGED / longest : Math.min(1, WIDEST / longest);
  const image = make("img", scale > 1 ? "phone-photo phone-pixels" : "phone-photo");
  image.src = address;
  image.alt = `photo, ${width} by ${height} pixels`;
  image.width = Math.max(1, Math.round(width * scale));
  image.height = Math.max(1, Math.round(height * scale));
  return image;
}

function firstLine(text) {
  return text.trim().split("\n")[0] || "photo";
}

function row(message, model, replyTo) {
  if (message.line && message.bot) {
    const notice = make("div", "phone-notice");
    notice.append(make("span", "", message.text));
    return notice;
  }
  if (message.line) return make("div", "phone-line", message.text);
  const side = make("div", message.mine ? "phone-row phone-mine" : "phone-row");
  const column = make("div", "phone-column");
  const bubble = make("div", message.bot ? "phone-bubble phone-bot" : "phone-bubble");
  if (!message.mine && model.get("place")) bubble.append(make("div", "phone-who", message.who));
  if (message.reply !== null) bubble.append(make("div", "phone-quote", firstLine(message.reply)));
  if (message.size) bubble.append(photo(message, model.get("photos")[String(message.id)]));
  if (message.text) bubble.append(make("div", "phone-text", message.text));
  if (message.edited) bubble.append(make("div", "phone-edited", "edited"));
  column.append(bubble);
  message.buttons.forEach((labels, r) => {
    const keys = make("div", "phone-keys");
    labels.forEach((label, c) => {
      const key = make("button", "phone-key", label);
      key.type = "button";
      key.onclick = () => model.send({ kind: "tap", message_id: message.id, row: r, column: c });
      keys.append(key);
    });
    column.append(keys);
  });
  side.append(column);
  const reply = icon("M10 8V4l-7 7 7 7v-4c5 0 8 1.5 10 5-1-6-4-11-10-11z", "Reply to this message");
  reply.classList.add("phone-reply");
  reply.onclick = () => replyTo(message);
  side.append(reply);
  return side;
}

function render({ model, el }) {
  const phone = make("section", "phone");
  phone.setAttribute("aria-label", `Chat of ${model.get("user")} with ${model.get("bot")}`);
  // JupyterLab takes single letters for commands of its own otherwise.
  phone.setAttribute("data-lm-suppress-shortcuts", "true");

  const head = make("header", "phone-head");
  const face = make("div", "phone-face", (model.get("place") || model.get("bot")).slice(0, 1));
  face.setAttribute("aria-hidden", "true");
  const names = make("div", "phone-names");
  names.append(make("div", "phone-title", model.get("place") || model.get("bot")));
  const status = make("div", "phone-status");
  names.append(status);
  head.append(face, names, make("div", "phone-user", model.get("user")));

  const log = make("div", "phone-log");
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "polite");
  log.tabIndex = 0;
  log.setAttribute("aria-label", "Messages");
  const problem = make("div", "phone-problem");
  problem.setAttribute("role", "alert");
  const keyboard = make("div", "phone-keyboard");

  const quote = make("div", "phone-replying");
  const quoted = make("span", "phone-quoted");
  const forget = icon("M5 5l14 14M19 5L5 19", "Do not reply to it");
  forget.classList.add("phone-stroke");
  quote.append(quoted, forget);

  const form = make("form", "phone-form");
  const file = make("input");
  file.type = "file";
  file.accept = "image/*";
  file.hidden = true;
  const attach = icon(
    "M21 11l-9.5 9.5a5.5 5.5 0 0 1-8-8L13 3a3.8 3.8 0 0 1 5.500 5.500l-9 9a1.800 1.800 0 0 1-2.700-2.700L15 6.500",
    "Send a photo",
  );
  attach.classList.add("phone-stroke");
  const input = make("textarea", "phone-input");
  input.rows = 1;
  input.maxLength = 4096;
  input.placeholder = "Message";
  input.setAttribute("aria-label", "Message");
  const send = icon("M3 20l19-8L3 4v6l12 2-12 2z", "Send");
  send.type = "submit";
  send.classList.add("phone-send");
  form.append(file, attach, input, send);
  phone.append(head, log, problem, keyboard, quote, form);
  el.append(phone);

  let replied = null;
  function replyTo(message) {
    replied = message ? message.id : null;
    quote.hidden = !message;
    quoted.textContent = message ? `Reply to: ${firstLine(message.text)}` : "";
    if (message) input.focus();
  }

  function drawMessages() {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    const messages = model.get("bubbles");
    log.replaceChildren(...messages.map((message) => row(message, model, replyTo)));
    if (!messages.length) {
      const hint = make("div", "phone-empty", "Nothing has been said yet.");
      const begin = make("button", "phone-key", "/start");
      begin.type = "button";
      begin.onclick = () => model.send({ kind: "say", text: "/start" });
      hint.append(begin);
      log.append(hint);
    }
    if (model.get("status") === "typing…") {
      const dots = make("div", "phone-dots");
      dots.setAttribute("aria-label", "the bot is typing");
      dots.append(make("i"), make("i"), make("i"));
      log.append(dots);
    }
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function drawRest() {
    status.textContent = model.get("status");
    problem.textContent = model.get("problem");
    problem.hidden = !model.get("problem");
    const commands = input.value.startsWith("/")
      ? model.get("commands").filter((one) => `/${one.command}`.startsWith(input.value.trim()))
      : [];
    const rows = commands.length
      ? commands.map((one) => [[`/${one.command}`, one.description]])
      : model.get("keyboard").map((labels) => labels.map((label) => [label, ""]));
    keyboard.replaceChildren(
      ...rows.map((labels) => {
        const keys = make("div", "phone-keys");
        for (const [label, hint] of labels) {
          const key = make("button", "phone-key", label);
          key.type = "button";
          if (hint) key.append(make("span", "phone-dim", ` ${hint}`));
          key.onclick = () => say(label);
          keys.append(key);
        }
        return keys;
      }),
    );
    keyboard.hidden = !rows.length;
  }

  function say(text) {
    if (!text.trim()) return;
    model.send({ kind: "say", text, reply_to: replied });
    input.value = "";
    fit();
    replyTo(null);
    drawRest();
    log.scrollTop = log.scrollHeight;
  }

  async function sendPhoto(chosen) {
    const content = await chosen.arrayBuffer();
    model.send({ kind: "photo", caption: input.value.trim() }, undefined, [new DataView(content)]);
    input.value = "";
    fit();
    log.scrollTop = log.scrollHeight;
  }

  function fit() {
    input.style.height = "auto";
    input.style.height = `${Math.min(110, input.scrollHeight)}px`;
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    say(input.value);
    input.focus();
  };
  input.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      say(input.value);
    } else if (event.key === "Escape") {
      replyTo(null);
    }
  };
  input.oninput = () => {
    fit();
    drawRest();
  };
  input.onpaste = (event) => {
    const chosen = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (chosen) {
      event.preventDefault();
      sendPhoto(chosen);
    }
  };
  attach.onclick = () => file.click();
  file.onchange = () => {
    if (file.files.length) sendPhoto(file.files[0]);
    file.value = "";
  };
  forget.onclick = () => replyTo(null);

  const messageTraits = ["bubbles", "photos", "status"];
  const restTraits = ["status", "problem", "keyboard", "commands"];
  for (const trait of messageTraits) model.on(`change:${trait}`, drawMessages);
  for (const trait of restTraits) model.on(`change:${trait}`, drawRest);
  replyTo(null);
  drawMessages();
  drawRest();
  requestAnimationFrame(() => {
    log.scrollTop = log.scrollHeight;
  });
  return () => {
    for (const trait of messageTraits) model.off(`change:${trait}`, drawMessages);
    for (const trait of restTraits) model.off(`change:${trait}`, drawRest);
  };
}

export default { render };
