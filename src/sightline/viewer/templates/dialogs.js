// The two dialogs: a question, and the choice as a file.

const find = (id) => document.getElementById(id);

/** What was answered: null where cancelled, the text where a value was asked for, else true. */
function ask({ title, text, confirm, cancel, value }) {
  const dialog = find("ask");
  const field = dialog.querySelector("input");
  setText(dialog.querySelector("h2"), title);
  setText(dialog.querySelector("p"), text);
  setText(find("confirm"), confirm);
  setText(find("cancel"), cancel);
  find("confirm").classList.toggle("main", value !== undefined);
  find("cancel").classList.toggle("main", value === undefined);
  field.hidden = value === undefined;
  field.value = value ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  (value === undefined ? find("cancel") : field).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue !== "yes" ? null : value === undefined ? true : field.value);
    }, { once: true });
  });
}

function showExport(json) {
  find("json").value = json;
  setText(find("copied"), "");
  find("export").showModal();
}

function download() {
  const url = URL.createObjectURL(new Blob([find("json").value], { type: "application/json" }));
  make("a", { href: url, download: "selection.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(find("json").value);
    setText(find("copied"), "Copied.");
  } catch {
    find("json").select();
    setText(find("copied"), "This browser does not let a page copy; the text is selected for you to copy.");
  }
}
