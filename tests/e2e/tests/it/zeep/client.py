"""Verifies, activates and pays a notice with a strict SOAP client made from the official WSDL.

usage: client.py WSDL URL INSTITUTION BROKER STATION NOTICE VERSION
"""

import sys

from zeep import Client, Settings

wsdl, url, institution, broker, station, notice, version = sys.argv[1:]
newer = version == "2"
client = Client(wsdl, settings=Settings(strict=True, xml_huge_tree=False))
service = client.create_service("{http://pagopa-api.pagopa.gov.it/paForNode}paForNodeBinding", url)
address = {"idPA": institution, "idBrokerPA": broker, "idStation": station}
qr_code = {"fiscalCode": institution, "noticeNumber": notice}

verified = service.paVerifyPaymentNotice(**address, qrCode=qr_code)
assert verified["outcome"] == "OK", verified
amount = verified["paymentList"]["paymentOptionDescription"]["amount"]

get_payment = service.paGetPaymentV2 if newer else service.paGetPayment
activated = get_payment(**address, qrCode=qr_code, amount=amount)
assert activated["outcome"] == "OK", activated
data = activated["data"]
assert data["paymentAmount"] == amount, (data["paymentAmount"], amount)
assert sum(t["transferAmount"] for t in data["transferList"]["transfer"]) == amount


def transfer(given):
    keys = ["idTransfer", "transferAmount", "fiscalCodePA", "IBAN", "remittanceInformation", "transferCategory"]
    # The name of a beneficiary is a field of the newer primitives alone.
    return {key: given[key] for key in keys + ["companyName"] * newer}


receipt = {
    "receiptId": "zeep-receipt-1",
    "noticeNumber": notice,
    "fiscalCode": institution,
    "outcome": "OK",
    "creditorReferenceId": data["creditorReferenceId"],
    "paymentAmount": amount,
    "description": data["description"],
    "companyName": data["companyName"],
    "debtor": {
        "uniqueIdentifier": {
            "entityUniqueIdentifierType": data["debtor"]["uniqueIdentifier"]["entityUniqueIdentifierType"],
            "entityUniqueIdentifierValue": data["debtor"]["uniqueIdentifier"]["entityUniqueIdentifierValue"],
        },
        "fullName": data["debtor"]["fullName"],
    },
    "transferList": {"transfer": [transfer(t) for t in data["transferList"]["transfer"]]},
    "idPSP": "ZEEPSP01",
    "PSPCompanyName": "PSP di prova",
    "idChannel": "97249640588_01",
    "channelDescription": "app",
}
send_receipt = service.paSendRTV2 if newer else service.paSendRT
sent = send_receipt(**address, receipt=receipt)
assert sent["outcome"] == "OK", sent
repeated = send_receipt(**address, receipt=receipt)
print("verify OK, get OK, receipt OK, repeated", repeated["fault"]["faultCode"])
