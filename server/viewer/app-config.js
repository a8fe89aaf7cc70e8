// OHIF's configuration for this server (docs.ohif.org, "Configuration"). Before it comes `const place = {…};`.
//
// The token comes in the fragment of the address (`#token=…`), which browsers send to no server, and stays in the
// session storage of the tab. It goes with each request in the Authorization header, and nowhere else.
"use strict";

(() => {
  const KEY = "isthmus.token";
  const DICOMWEB = `${window.location.origin}${place.dicomweb}`;

  function takeToken() {
    const fragment = new URLSearchParams(window.location.hash.slice(1));
    const token = fragment.get("token");
    if (token) {
      window.sessionStorage.setItem(KEY, token);
      window.history.replaceState(null, "", window.location.pathname + window.location.search);
    }
    return window.sessionStorage.getItem(KEY);
  }

  function askForToken() {
    const dialog = document.createElement("dialog");
    dialog.style.cssText = "font-family: sans-serif; margin: auto; padding: 1.5em; color-scheme: light dark";
    dialog.innerHTML = `<form method="dialog"><p>The images are open to who has an access token
      (isthmus token), which is valid for a limited time.</p><p><input type="password" autocomplete="off"
      aria-label="Access token" size="48" required> <button>Open</button></p></form>`;
    dialog.addEventListener("cancel", event => event.preventDefault());
    dialog.querySelector("form").addEventListener("submit", () => {
      window.sessionStorage.setItem(KEY, dialog.querySelector("input").value.trim());
      window.location.reload();
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  const token = takeToken();

  const bearer = {
    id: "isthmus.bearer",
    preRegistration({ servicesManager }) {
      servicesManager.services.userAuthenticationService.setServiceImplementation({
        getAuthorizationHeader: () => (token ? { Authorization: `Bearer ${token}` } : {}),
      });
    },
  };

  function onError(error) {
    if (error.status === 401 && place.login) {
      window.sessionStorage.removeItem(KEY); // expired or revoked: the page asks for another
      window.location.reload();
    }
  }

  window.PUBLIC_URL = place.root;
  // By which OHIF loads parts of its own that are no part of its build; it takes its root for the site's.
  window.browserImportFunction = path => import(path.startsWith("/") ? place.root + path.slice(1) : path);
  window.config = {
    routerBasename: place.root,
    showStudyList: true,
    extensions: [bearer],
    modes: [],
    maxNumberOfWebWorkers: 3,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: true,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    httpErrorHandler: onError,
    defaultDataSourceName: "isthmus",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "isthmus",
        configuration: {
          friendlyName: "Isthmus",
          name: "isthmus",
          qidoRoot: DICOMWEB,
          wadoRoot: DICOMWEB,
          wadoUriRoot: `${DICOMWEB}/wado`,
          qidoSupportsIncludeField: true,
          supportsReject: false,
          supportsStow: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          imageRendering: "wadors",
          thumbnailRendering: "thumbnail",
          enableStudyLazyLoad: true,
          singlepart: "bulkdata,pdf,video",
          bulkDataURI: { enabled: true, startsWith: place.public, prefixWith: DICOMWEB },
        },
      },
    ],
  };

  if (place.login && !token) {
    window.config = () => new Promise(() => {}); // OHIF waits for its configuration, and so does not start
    window.addEventListener("DOMContentLoaded", askForToken);
  }
})();
